package lint

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const readmeLinesMax = 200

// documents returns README.md and docs/*.md by their path in the repository; none before there is a
// README.
func documents(t *testing.T) map[string]string {
	t.Helper()
	root := os.DirFS(repository)
	readme, err := fs.ReadFile(root, "README.md")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no README.md yet")
	}
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"README.md": string(readme)}
	names, err := fs.Glob(root, "docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	return texts
}

func TestReadmeIsShort(t *testing.T) {
	if lines := strings.Count(documents(t)["README.md"], "\n"); lines > readmeLinesMax {
		t.Errorf("README.md has %d lines, at most %d", lines, readmeLinesMax)
	}
}

// TestReadmeRuns does what the documents tell a reader to do.
func TestReadmeRuns(t *testing.T) {
	if os.Getenv(nestedVariable) != "" {
		t.Skip("called by a command that this test runs")
	}
	if testing.Short() {
		t.Skip("runs every command and program of the documents; not in -short")
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no sh on this system")
	}
	texts := documents(t)
	ran := 0
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		blocks, err := readBlocks(name, texts[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range blocks {
			ran += runBlock(t, block)
		}
	}
	if ran == 0 {
		t.Error("the documents hold nothing that can be run")
	}
}

// runElsewhere has the pages whose console blocks another test runs, against a server.
var runElsewhere = map[string]string{
	"docs/cli.md":       "TestPageRuns of cmd/leat",
	"docs/log-tools.md": "TestLogPageRuns of cmd/leat",
}

// runBlock runs what a block holds and returns how much that was.
func runBlock(t *testing.T, b block) int {
	switch {
	case b.language == "console" && runElsewhere[b.file] != "":
		t.Logf("%s: run by %s", b, runElsewhere[b.file])
	case b.server && b.isShell():
		t.Logf("%s: run by TestServerBlocks of cmd/leat", b)
	case b.notRun != "" && (b.isShell() || b.isProgram()):
		t.Logf("%s: not run: %s", b, b.notRun)
	case b.isShell():
		ran := 0
		for _, command := range b.commands() {
			t.Logf("%s: $ %s", b, command)
			did, err := runCommand(t.Context(), root(t), command)
			if err != nil {
				t.Errorf("%s: %v", b, err)
			}
			if did {
				ran++
			}
		}
		return ran
	case b.isProgram():
		t.Logf("%s: go run, outside of the module", b)
		if err := runProgram(t.Context(), root(t), t.TempDir(), b.text); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		return 1
	}
	return 0
}

func TestReadBlocks(t *testing.T) {
	markdown := "# Title\n```sh\nmake test\n```\n" +
		"<!-- not run: needs a disk -->\n\n```go\npackage main\n```\n" +
		"<!-- run with a server -->\n```sh\nleat topic ls\n```\n" +
		"<!-- run: --for 2s -->\n```console title\nx\n```\n" +
		"<!-- not run: not directly above -->\ntext\n   ```\n   y\n   ```\n"
	want := []block{
		{file: "a.md", line: 3, language: "sh", text: "make test\n"},
		{file: "a.md", line: 8, language: "go", text: "package main\n", notRun: "needs a disk"},
		{file: "a.md", line: 12, language: "sh", text: "leat topic ls\n", server: true},
		{file: "a.md", line: 16, language: "console", text: "x\n", args: "--for 2s"},
		{file: "a.md", line: 21, text: "   y\n"},
	}
	got, err := readBlocks("a.md", markdown)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("readBlocks = %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"```sh\nx\n", "<!-- not run: -->\n```sh\nx\n```\n"} {
		if _, err := readBlocks("a.md", bad); err == nil {
			t.Errorf("readBlocks(%q) = nil error, want one", bad)
		}
	}
}

func TestBlockCommands(t *testing.T) {
	tests := []struct {
		name string
		b    block
		want []string
	}{
		{"all lines", block{text: "# first\na b\n\nc # why\n"}, []string{"a b", "c # why"}},
		{"after prompts", block{text: "$ a b\noutput\n$ c\n"}, []string{"a b", "c"}},
		{"joined", block{text: "a \\\n  b\nc\n"}, []string{"a    b", "c"}},
		{"with arguments", block{text: "$ a # all of it\nout\n", args: "--for 2s"}, []string{"a --for 2s"}},
		{"with arguments of make", block{text: "a\nmake b\n", args: "--for 2s"},
			[]string{"a --for 2s", "make b ARGS='--for 2s'"}},
	}
	for _, tt := range tests {
		if got := tt.b.commands(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: commands() = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestBlockKinds(t *testing.T) {
	tests := []struct {
		b              block
		shell, program bool
	}{
		{block{language: "sh", text: "package main\n"}, true, false},
		{block{language: "go", text: "// A program.\npackage main\n\nfunc main() {}\n"}, false, true},
		{block{language: "go", text: "package leat\n"}, false, false},
		{block{language: "go", text: "p, err := bus.Producer()\n"}, false, false},
		{block{text: "package main\n"}, false, false},
	}
	for _, tt := range tests {
		if tt.b.isShell() != tt.shell || tt.b.isProgram() != tt.program {
			t.Errorf("%+v: shell %t, program %t; want %t, %t",
				tt.b, tt.b.isShell(), tt.b.isProgram(), tt.shell, tt.program)
		}
	}
}

func TestRunCommand(t *testing.T) {
	root := writeTree(t, map[string]string{
		"Makefile": "test:\n\tfalse\nbuild:\n\ttouch built\n",
		"here":     "",
	})
	tests := []struct {
		command string
		ran     bool
		err     string
	}{
		{"test -f here", true, ""},
		{"echo reason >&2; exit 3", true, "reason"},
		{"make test", false, ""},
		{"make test # everything", false, ""},
		{"make -s test ARGS='--for 2s'", false, ""},
		{"make tset", false, `no target "tset"`},
	}
	for _, tt := range tests {
		ran, err := runCommand(t.Context(), root, tt.command)
		if ran != tt.ran || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("runCommand(%q) = %t, %v; want %t, error %q", tt.command, ran, err, tt.ran, tt.err)
		}
	}
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("no make on this system")
	}
	if ran, err := runCommand(t.Context(), root, "make build"); !ran || err != nil {
		t.Errorf("runCommand(make build) = %t, %v; want true, nil", ran, err)
	}
	if _, err := os.Stat(filepath.Join(root, "built")); err != nil {
		t.Errorf("make build did not run: %v", err)
	}
}

func TestRunProgram(t *testing.T) {
	root := writeTree(t, map[string]string{
		"go.mod":  "module " + ModulePath + "\n\ngo 1.26\n",
		"leat.go": "package leat\n\nconst Answer = 42\n",
	})
	program := func(body string) string {
		return "package main\n\nimport (\n\t\"os\"\n\n\t\"" + ModulePath + "\"\n)\n\n" +
			"func main() {\n" + body + "\n}\n"
	}
	tests := []struct{ name, source, err string }{
		{"good", program("if leat.Answer != 42 { os.Exit(1) }"), ""},
		{"exits with 3", program("println(leat.Answer); os.Exit(3)"), "42"},
		{"does not compile", program("leat.Question()\n_ = os.Exit"), "leat.Question"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := runProgram(t.Context(), root, t.TempDir(), tt.source)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("runProgram = %v, want error %q", err, tt.err)
			}
		})
	}
}
