package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// page gives the text of docs/cli.md.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPageRuns runs what docs/cli.md shows, in its order, and compares what is printed.
func TestPageRuns(t *testing.T) {
	d := newDesk(t)
	blocks := strings.Split(page(t), "```console\n")[1:]
	if len(blocks) < 10 {
		t.Fatalf("%d blocks of commands", len(blocks))
	}
	for _, block := range blocks {
		script, _, _ := strings.Cut(block, "```")
		d.golden(script)
	}
}

// TestPageIsComplete: every verb that can be called has a section or is named, and a section names every
// flag of its verb.
func TestPageIsComplete(t *testing.T) {
	text := page(t)
	for _, cmd := range visible(newRoot(newApp(nil, nil, nil))) {
		if cmd.HasSubCommands() {
			continue
		}
		path := cmd.CommandPath()
		_, section, found := strings.Cut(text, "\n## "+path+"\n")
		if !found {
			words := strings.Fields(path)
			if !strings.Contains(text, words[0]+" "+words[1]) || !strings.Contains(text, words[len(words)-1]) {
				t.Errorf("docs/cli.md does not name %s", path)
			}
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !f.Hidden && !strings.Contains(section, "--"+f.Name) {
				t.Errorf("docs/cli.md: the section of %s lacks --%s", path, f.Name)
			}
		})
	}
}
