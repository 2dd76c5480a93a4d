package lint

import (
	"bytes"
	"fmt"
	"go/format"
	"regexp"
	"strings"
)

// machinePath matches the start of an absolute path that only exists on somebody's machine. The
// character before it keeps addresses and relative paths out.
var machinePath = regexp.MustCompile(
	`(?:^|[^\w.~*/)}-])/(?:home|work|tmp|root|farm|Users|var/tmp)(?:/|["'` + "`" + `\s]|$)` +
		`|\b[C-Z]:\\+(?:Users|Windows|Temp|Program)`)

// checkPaths finds absolute paths of a machine in any text file.
func checkPaths(t *Tree) []string {
	var findings []string
	for _, file := range t.Files {
		number := 0
		for line := range strings.Lines(string(file.Source)) {
			number++
			if found := machinePath.FindString(strings.TrimRight(line, "\r\n")); found != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: absolute path %q: "+
					"use a relative one, t.TempDir or os.MkdirTemp", file.Path, number, strings.TrimSpace(found)))
			}
		}
	}
	return findings
}

// checkFormat finds Go files that gofmt would change, and those that it cannot read.
func checkFormat(t *Tree) []string {
	var findings []string
	for _, file := range t.Files {
		switch {
		case file.Err != nil:
			findings = append(findings, fmt.Sprintf("%s: does not parse: %v", file.Path, file.Err))
		case file.Syntax != nil:
			formatted, err := format.Source(file.Source)
			if err != nil || !bytes.Equal(formatted, file.Source) {
				findings = append(findings, fmt.Sprintf("%s: not formatted: run gofmt -w on it", file.Path))
			}
		}
	}
	return findings
}
