package lint

import (
	"fmt"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// block is one fenced block of a Markdown file.
type block struct {
	file     string
	line     int    // of its first line of text
	language string // first word after the fence
	text     string
	notRun   string // reason given by <!-- not run: reason --> above it
	args     string // given by <!-- run: args --> above it
	server   bool   // <!-- run with a server --> is above it: TestServerBlocks of cmd/leat runs it
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

var directive = regexp.MustCompile(`^<!--\s*(not run|run):\s*(.*?)\s*-->$`)

// serverDirective is above blocks that need a server.
const serverDirective = "<!-- run with a server -->"

// readBlocks extracts the fenced blocks of a Markdown file. It refuses a fence that is never closed
// and a block that is not run without a reason.
func readBlocks(file, markdown string) ([]block, error) {
	var blocks []block
	var above string // the last line outside of blocks that is not blank
	var open *block
	number := 0
	for line := range strings.Lines(markdown) {
		number++
		trimmed := strings.TrimSpace(line)
		fence, isFence := strings.CutPrefix(trimmed, "```")
		switch {
		case open != nil && trimmed == "```":
			blocks = append(blocks, *open)
			open, above = nil, ""
		case open != nil:
			open.text += line
		case isFence:
			language, _, _ := strings.Cut(strings.TrimSpace(fence), " ")
			open = &block{file: file, line: number + 1, language: language}
			if err := open.direct(above); err != nil {
				return nil, err
			}
		case trimmed != "":
			above = trimmed
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s: the block is never closed", open)
	}
	return blocks, nil
}

// direct applies the comment above a block, if there is one.
func (b *block) direct(comment string) error {
	match := directive.FindStringSubmatch(comment)
	switch {
	case comment == serverDirective:
		b.server = true
	case match == nil:
	case match[2] == "":
		return fmt.Errorf("%s: %q: give a reason or arguments", b, comment)
	case match[1] == "run":
		b.args = match[2]
	default:
		b.notRun = match[2]
	}
	return nil
}

// isShell reports whether the block shows commands for a shell.
func (b block) isShell() bool {
	return slices.Contains([]string{"sh", "bash", "shell", "console"}, b.language)
}

// isProgram reports whether the block is a whole Go program rather than a fragment.
func (b block) isProgram() bool {
	if b.language != "go" {
		return false
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), "", b.text, parser.PackageClauseOnly)
	return err == nil && syntax.Name.Name == "main"
}

// commands returns the lines of a shell block that a reader would type, arguments of the directive
// appended: those after "$ " where there is such a line, as the rest is output then; else all but
// comments. A backslash at the end joins lines.
func (b block) commands() []string {
	text := strings.ReplaceAll(b.text, "\\\n", " ")
	prompted := slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
		return strings.HasPrefix(strings.TrimSpace(line), "$ ")
	})
	var commands []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		command, isPrompt := strings.CutPrefix(line, "$ ")
		if line == "" || strings.HasPrefix(line, "#") || prompted && !isPrompt {
			continue
		}
		if b.args != "" {
			command = appendArgs(command, b.args)
		}
		commands = append(commands, command)
	}
	return commands
}

// trailingComment matches what a reader is told beside a command.
var trailingComment = regexp.MustCompile(`\s+#\s.*$`)

// appendArgs puts args behind a command, before a comment that follows it. The Makefile takes them as
// ARGS.
func appendArgs(command, args string) string {
	command = trailingComment.ReplaceAllString(command, "")
	if _, isMake := makeTargets(command); isMake {
		return command + " ARGS='" + args + "'"
	}
	return command + " " + args
}

// targetsNotRun are those that would run this test again, or take minutes. That they exist is checked.
var targetsNotRun = []string{"test", "race", "models", "bench", "bench-full", "fuzz", "lint"}

// makeTargets returns the targets that a command asks make for, and whether it is such a command. What
// follows the first variable is taken for its value.
func makeTargets(command string) (targets []string, isMake bool) {
	fields := strings.Fields(trailingComment.ReplaceAllString(command, ""))
	if len(fields) == 0 || fields[0] != "make" {
		return nil, false
	}
	for _, field := range fields[1:] {
		if strings.Contains(field, "=") {
			break
		}
		if !strings.HasPrefix(field, "-") {
			targets = append(targets, field)
		}
	}
	return targets, true
}

// hasTarget reports whether a Makefile has a rule for target.
func hasTarget(makefile, target string) bool {
	return regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).MatchString(makefile)
}
