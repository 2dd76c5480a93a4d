package nettest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// readmeBlock gives the commands of the shell block below a heading of the README that contains word.
func readmeBlock(t *testing.T, heading, word string) []string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, block := range strings.Split(section, "```sh\n")[1:] {
		body, _, _ := strings.Cut(block, "```")
		if strings.Contains(body, word) {
			return strings.Split(strings.TrimSpace(body), "\n")
		}
	}
	t.Fatalf("README.md has no block with %q below %q (the heading is there: %v)", word, heading, found)
	return nil
}

// reader is somebody who follows the README: an empty folder with the examples and the command in it.
type reader struct {
	t   *testing.T
	dir string
}

func newReader(t *testing.T) *reader {
	r := &reader{t: t, dir: t.TempDir()}
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"bin/leat": program, "examples": examples} {
		at := filepath.Join(r.dir, link)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, at); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// run runs a line to its end and gives what it printed.
func (r *reader) run(line string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = r.dir
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("$ %s\n%v\n%s%s", line, err, out, errors.String())
	}
	return string(out)
}

// serve runs a line that serves, until the test ends.
func (r *reader) serve(line string) {
	r.t.Helper()
	cmd := exec.Command("sh", "-c", "exec "+line)
	cmd.Dir = r.dir
	log := newLineLog("ready")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	r.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := <-ended; err != nil {
			r.t.Errorf("$ %s\n%v\n%s", line, err, log)
		}
	})
	select {
	case <-log.found:
	case <-time.After(30 * time.Second):
		r.t.Fatalf("$ %s\nnot ready within 30 s\n%s", line, log)
	}
}

// elsewhere moves the default ports, so that the test disturbs nobody.
func elsewhere(t *testing.T, lines ...string) []string {
	t.Helper()
	ports := map[string]string{}
	port := regexp.MustCompile(`127\.0\.0\.1:47\d\d`)
	moved := slices.Clone(lines)
	for i := range moved {
		moved[i] = port.ReplaceAllStringFunc(moved[i], func(address string) string {
			if ports[address] == "" {
				ports[address] = freeAddress(t)
			}
			return ports[address]
		})
	}
	return moved
}

// TestReadmeTwoTerminals does what the README says, and gets exactly the lines back, in order per key.
func TestReadmeTwoTerminals(t *testing.T) {
	r := newReader(t)
	address := freeAddress(t)
	t.Setenv("LEAT_LISTEN_QUIC", address)
	t.Setenv("LEAT_LISTEN_HTTP", freeHTTP(t))
	t.Setenv("LEAT_SERVER", address)
	serve := readmeBlock(t, "In two terminals", "leat serve")
	if len(serve) != 1 {
		t.Fatalf("%d lines to serve", len(serve))
	}
	r.serve(serve[0])
	var out string
	for _, line := range readmeBlock(t, "In two terminals", "leat sub") {
		out = r.run(line)
	}
	sent, err := os.ReadFile("../../examples/quakes/earthquakes.tsv")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := byKey(out), byKey(string(sent)); !slices.Equal(got, want) {
		t.Errorf("%d lines came back, %d were sent; or one of a key is out of order", len(got), len(want))
	}
}

// byKey sorts lines by their key and keeps the order within one.
func byKey(text string) []string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	slices.SortStableFunc(lines, func(a, b string) int {
		return strings.Compare(strings.SplitN(a, "\t", 2)[0], strings.SplitN(b, "\t", 2)[0])
	})
	return lines
}

// TestReadmeThreeNodes: the three commands make a cluster.
func TestReadmeThreeNodes(t *testing.T) {
	r := newReader(t)
	lines := readmeBlock(t, "Three nodes", "--node 1")
	lines = elsewhere(t, append(lines, "bin/leat cluster status -o json -s 127.0.0.1:4742")...)
	if len(lines) != 4 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines[:3] {
		r.serve(line)
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for ctx := soon(t, 30*time.Second); ; {
		status := r.run(lines[3])
		if strings.Count(status, `"up": true`) == 3 {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal(fmt.Sprint("not three nodes are up: ", status))
		}
	}
}
