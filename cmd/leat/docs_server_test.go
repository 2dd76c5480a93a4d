//go:build unix

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serverMark is above a block of a document that needs a server.
const serverMark = "<!-- run with a server -->\n```"

// pageSetup is what has to be there before the blocks of a page: command lines, with what they are fed.
var pageSetup = map[string][]struct{ line, stdin string }{
	"http.md": {{"topic create orders", ""}, {"pub orders hello -k user-1", ""},
		{"pub orders -", strings.Repeat("more\n", 11)}},
	"messages.md": {{"topic create orders", ""}},
}

// serverBlock is a block of commands, and the block behind it if that shows their output.
type serverBlock struct{ language, text, output string }

// serverBlocks finds the blocks of a page that are marked.
func serverBlocks(page string) []serverBlock {
	var blocks []serverBlock
	for _, part := range strings.Split(page, serverMark)[1:] {
		head, rest, _ := strings.Cut(part, "\n")
		text, rest, _ := strings.Cut(rest, "```\n")
		b := serverBlock{language: strings.TrimSpace(head), text: text}
		if shown, ok := strings.CutPrefix(rest, "```"); ok && b.language != "console" {
			_, shown, _ = strings.Cut(shown, "\n")
			b.output, _, _ = strings.Cut(shown, "```\n")
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// TestServerBlocks does what the documents tell a reader to do against a server, page by page, each with a
// server of its own. What is printed has to be what the page shows; … there stands for anything.
func TestServerBlocks(t *testing.T) {
	needNode(t)
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s on this system", program)
		}
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, name := range append(pages, "../../README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		blocks := serverBlocks(string(text))
		ran += len(blocks)
		if len(blocks) > 0 {
			t.Run(filepath.Base(name), func(t *testing.T) { runServerPage(t, filepath.Base(name), blocks) })
		}
	}
	if ran < 5 {
		t.Errorf("%d blocks", ran)
	}
}

// pageRig is the server of a page, and a shell that knows it.
type pageRig struct {
	t      *testing.T
	server *serving
	dir    string
}

func runServerPage(t *testing.T, page string, blocks []serverBlock) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	r := &pageRig{t: t, dir: t.TempDir()}
	r.server = startServer(t, filepath.Join(r.dir, "data"), "--gateway", "127.0.0.1:0")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\n" + childVariable + "=1 exec '" + program + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(r.dir, "leat"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, setup := range pageSetup[page] {
		mustRemote(t, r.server.listen, setup.stdin, setup.line)
	}
	for _, b := range blocks {
		if b.language == "console" {
			r.console(b.text)
			continue
		}
		r.shell(b.text, b.output)
	}
	if code := r.server.end(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM: exit code %d\n%s", code, r.server.log)
	}
}

// console runs the lines that begin with $, and compares what is printed.
func (r *pageRig) console(text string) {
	r.t.Helper()
	for _, block := range strings.Split("\n"+text, "\n$ ")[1:] {
		line, want, _ := strings.Cut(block, "\n")
		r.shell(line, want)
	}
}

// shell runs commands and waits until they have printed what is wanted and, unless they go on for ever, have
// ended with exit code 0.
func (r *pageRig) shell(text, want string) {
	r.t.Helper()
	if strings.HasPrefix(text, "leat serve ") {
		return // it is there
	}
	text = strings.ReplaceAll(text, "127.0.0.1:4742", r.server.door)
	cmd := exec.Command("sh", "-e", "-c", text)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "PATH="+r.dir+":"+os.Getenv("PATH"), "LEAT_SERVER="+r.server.listen)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	timer := time.AfterFunc(2*patience, kill)
	defer timer.Stop()
	left := r.read(text, out, shownLines(want))
	endless := strings.Contains(text, "curl -N")
	if endless {
		kill()
	}
	_, _ = io.Copy(io.Discard, out) // so that it can end
	if err := cmd.Wait(); err != nil && !endless || len(left) > 0 {
		r.t.Errorf("%s\n%v, %s; not printed: %q", text, err, &errs, left)
	}
}

// read reads until all lines came that are wanted, in this order, and gives those that did not. A line that
// comes instead of the next one is an error.
func (r *pageRig) read(text string, out io.Reader, want []string) []string {
	lines := bufio.NewScanner(out)
	for len(want) > 0 && lines.Scan() {
		line := times(strings.TrimSpace(lines.Text()))
		if line == "" {
			continue
		}
		if !shown(want[0]).MatchString(line) {
			r.t.Errorf("%s\nprinted %s\nwant    %s", text, line, want[0])
		}
		want = want[1:]
	}
	return want
}

// shownLines are the lines of what a page shows, times replaced.
func shownLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = times(strings.TrimSpace(line)); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// shown matches a line as a page shows it.
func shown(line string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + "$")
}
