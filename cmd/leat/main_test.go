package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	httpdoor "github.com/leatbus/leat/gateway/http"
	"github.com/leatbus/leat/transport/certs"
)

// childVariable makes this test binary behave as the command itself.
const childVariable = "LEAT_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
	}
	for _, name := range []string{"LEAT_SERVER", "LEAT_OUTPUT", "LEAT_TLS_CA", "LEAT_TLS_CERT", "LEAT_TLS_KEY",
		"LEAT_TOKEN", "LEAT_TOKEN_FILE"} {
		os.Unsetenv(name) // what the person who runs the tests has set must not matter
	}
	os.Exit(m.Run())
}

// result is what a command line did.
type result struct {
	code           int
	stdout, stderr string
}

// execute runs a command line in this process, with an empty folder for temporary files, which must
// be empty again afterwards.
func execute(t *testing.T, ctx context.Context, args ...string) result {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, &stdout, &stderr)
	checkEmpty(t, dir)
	return result{code, stdout.String(), stderr.String()}
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind in the temporary folder: %v, %v", entries, err)
	}
}

// needNode skips where this system runs no node.
func needNode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no node on Windows yet")
	}
}

func document(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("output is not one JSON document: %v\n%s", err, text)
	}
	return out
}

func keysOf(object map[string]any) string {
	return strings.Join(slices.Sorted(maps.Keys(object)), " ")
}

func TestVersion(t *testing.T) {
	got := execute(t, t.Context(), "version", "-o", "json")
	if got.code != 0 || got.stderr != "" {
		t.Fatalf("version -o json = %+v; want exit code 0 and nothing on stderr", got)
	}
	v := document(t, got.stdout)
	if keys, want := keysOf(v), "arch commit format go os version"; keys != want {
		t.Errorf("keys = %s; want %s", keys, want)
	}
	if v["go"] != runtime.Version() || v["os"] != runtime.GOOS || v["format"] != 1.0 || v["version"] == "" {
		t.Errorf("version = %v; want the Go and system of this build and format 1", v)
	}
	table := execute(t, t.Context(), "version")
	for _, want := range []string{"leat ", "commit ", runtime.Version(), "format 1"} {
		if !strings.Contains(table.stdout, want) {
			t.Errorf("version lacks %q:\n%s", want, table.stdout)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	tests := []struct {
		args string
		want string // on stderr
	}{
		{"dmeo", `did you mean "demo"?`},
		{"ben", `did you mean "bench"?`},
		{"bench lgo", `did you mean "log"?`},
		{"nothing-like-it", "see: leat --help"},
		{"demo extra", "see: leat demo --help"},
		{"demo --for", "needs an argument"},
		{"demo --for 0s", "--for 0s"},
		{"demo --for never", "see: leat demo --help"},
		{"demo --rate 0", "--rate 0: want 1 to"},
		{"demo --rate -5", "--rate -5"},
		{"demo --rate 99999999999", "--rate"},
		{"demo --break everything", "want lost, dup or order"},
		{"demo --no-such-flag", "unknown flag"},
		{"version -o xml", "want table, json or yaml"},
		{"version now", "unexpected argument"},
		{"bench log --rounds 0", "want a number from 1"},
		{"bench log --rounds many", "want a number from 1"},
		{"bench log --for -1s", "want a duration above 0"},
		{"bench log --size 50", "want a multiple of 8"},
		{"bench bus --size 3", "--size 3"},
		{"bench open --gb 0", "want a number from 0.001"},
		{"bench open --gb NaN", "want a number from 0.001"},
		{"bench open --for 1s", "unknown flag"},
		{"bench idle --size 64", "unknown flag"},
		{"cert isue", `did you mean "issue"?`},
		{"cert ca", "--out is missing"},
		{"cert ca extra", "unexpected argument"},
		{"cert ca --out x --valid 0d", "want a time above 0"},
		{"cert ca --out x --valid 1e9y", "want a time above 0"},
		{"cert ca --out x --valid 31y", "at most 30 years"},
		{"cert issue --out x --host h", "--ca is missing"},
		{"cert issue --ca x --host h", "--out is missing"},
		{"cert issue --ca x --out x", "--host is missing"},
		{"cert issue --ca x --out x --client", "--name is missing"},
		{"cert issue --ca x --out x --host h --node 1", "--node and --cluster go together"},
		{"cert issue --ca x --out x --host h --cluster c", "--node and --cluster go together"},
		{"cert issue --ca x --out x --host h --cluster c --node 0", "--node 0: want 1 to 65535"},
		{"cert issue --ca x --out x --host h --cluster c --node 70000", "--node"},
		{"cert issue --ca x --out x --host h --cluster c/d --node 1", "c/d"},
		{"cert issue --ca x --out x --host h", "check the path"},
		{"config sho", `did you mean "show"?`},
		{"config show extra", "unexpected argument"},
		{"config show -c absent.toml", "check the path"},
		{"config show --listen nowhere", "want host:port"},
		{"config show --log-level loud", "want debug, info, warn or error"},
		{"log dmup", `did you mean "dump"?`},
		{"log dump", "want DIR"},
		{"cert show a b", "unexpected argument"},
		{"cert show absent.crt", "check the path"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			got := execute(t, t.Context(), strings.Fields(tt.args)...)
			if got.code != exitUsage || got.stdout != "" || !strings.HasPrefix(got.stderr, "error: ") ||
				!strings.Contains(got.stderr, "hint: ") || !strings.Contains(got.stderr, tt.want) {
				t.Errorf("leat %s = %+v; want exit code 2, an error, a hint and %q", tt.args, got, tt.want)
			}
		})
	}
}

func TestErrorsAreEscaped(t *testing.T) {
	got := execute(t, t.Context(), "demo", "bad\x1b[31m\x07\u202e")
	if strings.ContainsAny(got.stderr, "\x1b\x07\u202e") || got.code != exitUsage {
		t.Errorf("control characters reached the terminal: %q", got.stderr)
	}
	for text, want := range map[string]string{
		"plain":      "plain",
		"a\x1b[2Jb":  `a\x1b[2Jb`,
		"\xff":       `\ufffd`,
		"tab\tend\n": `tab\x09end\x0a`,
		"größer":     "größer",
	} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q) = %q; want %q", text, got, want)
		}
	}
}

func TestMissingFolderIsAnError(t *testing.T) {
	needNode(t)
	got := execute(t, t.Context(), "bench", "log", "--dir", filepath.Join(t.TempDir(), "absent"))
	if got.code != 1 || got.stdout != "" || !strings.HasPrefix(got.stderr, "error: ") {
		t.Errorf("bench log in an absent folder = %+v; want exit code 1 and an error", got)
	}
}

// fast shortens a command of the help texts; a later flag wins over an earlier one.
var fast = map[string][]string{
	"leat demo":       {"--for", "150ms", "--rate", "20000"},
	"leat bench log":  {"--for", "5ms", "--rounds", "1"},
	"leat bench bus":  {"--for", "50ms", "--rounds", "1", "--unguarded"},
	"leat bench idle": {"--for", "50ms", "--rounds", "1", "--partitions", "20"},
	"leat bench open": {"--gb", "0.002"},
	"leat bench net":  {"--for", "50ms", "--rounds", "1", "--connections", "3", "--idle-for", "100ms"},
	"leat bench ring": {"--for", "2ms", "--rounds", "1", "--unguarded"},
	"leat serve":      {"--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"},
}

// TestHelp runs what every help text shows.
func TestHelp(t *testing.T) {
	needNode(t)
	t.Setenv(childVariable, "1")
	ran := map[string]bool{}
	for _, cmd := range visible(newRoot(newApp(&bytes.Buffer{}, &bytes.Buffer{}, &bytes.Buffer{}))) {
		path := cmd.CommandPath()
		help := execute(t, t.Context(), append(strings.Fields(path)[1:], "--help")...)
		if help.code != 0 || help.stderr != "" || !strings.Contains(help.stdout, cmd.Example) {
			t.Errorf("%s --help = %+v; want the examples on stdout", path, help)
		}
		lines := strings.Split(strings.TrimSpace(cmd.Example), "\n")
		if len(lines) < 2 {
			t.Errorf("%s: %d examples; want at least 2", path, len(lines))
		}
		for _, line := range lines {
			line = strings.TrimSpace(line)
			if !ran[line] {
				ran[line] = true
				t.Run(line, func(t *testing.T) { runExample(t, line) })
			}
		}
	}
}

func visible(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			all = append(all, visible(sub)...)
		}
	}
	return all
}

// before is what has to be there for a command of the help texts; it runs in the same empty folder.
var before = map[string]string{
	"leat cert issue":      "cert ca --out certs",
	"leat cert show certs": "cert ca --out certs",
	"leat schedule rm":     "schedule put trades close @daily x",
	"leat dlq":             "topic create trades.dlq.risk",

	"leat topic peek trades --id": "pub trades 110 --id order-4711",
	"leat delay reschedule":       "pub trades 110 --at 2034-12-31",
	"leat push":                   "push add orders --topic trades --url https://orders.example.com --paused",
}

// newExampleDesk has what the examples of the help texts are about.
func newExampleDesk(t *testing.T, line string) *desk {
	d := newDesk(t, "trades", "quakes")
	t.Chdir(t.TempDir())
	if err := os.Symlink(d.dir, "data"); err != nil {
		t.Fatal(err)
	}
	copyLive(t, "folder", d.dir) // which no node has open
	t.Setenv("TMPDIR", t.TempDir())
	for _, line := range []string{
		"pub trades 108 -k ACME", "pub trades 109 -k ACME", "sub trades --group risk --count 1",
	} {
		d.must(line)
	}
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	if _, err := certs.Development(""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("leat.toml", []byte("[log]\nlevel = \"warn\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(line, "leat push") {
		openPushDoor(t, httpdoor.Config{})
	}
	for prefix, command := range before {
		if strings.HasPrefix(line, prefix) {
			d.must(command)
		}
	}
	return d
}

// exampleHandle stands in help texts for the handle of the message that waits.
const exampleHandle = "d1.16.0.0.9f86d081"

func runExample(t *testing.T, line string) {
	d := newExampleDesk(t, line)
	command, _, fed := strings.Cut(line, " < ")
	if strings.Contains(command, exampleHandle) {
		waiting := strings.Fields(d.must("delay ls"))[6] // behind the names of the columns
		command = strings.ReplaceAll(command, exampleHandle, waiting)
	}
	args := shellWords(t, command)
	for prefix, extra := range fast {
		if strings.HasPrefix(line, prefix) {
			args = append(args, extra...)
		}
	}
	if args[1] == "serve" {
		if err := os.Remove("data"); err != nil { // the folder of another node
			t.Fatal(err)
		}
		serveExample(t, args[1:])
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	d.counterpart(ctx, args[1])
	got := d.feed(ctx, strings.NewReader(d.quakes), args[1:]...)
	// On a machine that is busy with other things a benchmark may miss its rate, and has to say so.
	missed := got.code == 1 && strings.Contains(got.stderr, "rounds are disturbed")
	if got.code != 0 && !missed {
		t.Fatalf("%s = %+v; want exit code 0", line, got)
	}
	if strings.Contains(line, "-o json") {
		checkBench(t, args, got.code, got.stdout)
	}
	if got.stdout == "" && !fed {
		t.Errorf("%s: nothing on stdout", line)
	}
}

// serveExample runs leat serve until it is ready, on free ports.
func serveExample(t *testing.T, args []string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	log := newScreen(`"msg":"ready"`)
	go func() {
		select {
		case <-log.seen:
			cancel()
		case <-ctx.Done():
		}
	}()
	if code := run(ctx, args, io.Discard, log); code != 0 || !strings.Contains(log.String(), log.want) {
		t.Errorf("exit code %d; want 0 after it was ready\n%s", code, log)
	}
}

// checkBench looks at the report of a benchmark in miniature. The figures mean nothing, the keys do.
func checkBench(t *testing.T, args []string, code int, text string) {
	if args[1] != "bench" {
		if !json.Valid([]byte(text)) {
			t.Errorf("not one JSON document: %s", text)
		}
		return
	}
	report := document(t, text)
	for _, key := range []string{"schema", "scenario", "time", "command", "valid", "problems", "env", "rows"} {
		if _, ok := report[key]; !ok {
			t.Errorf("no key %s in the report, which has %s", key, keysOf(report))
		}
	}
	if report["scenario"] != args[2] || len(report["rows"].([]any)) == 0 {
		t.Errorf("report = %v; want rows of scenario %s", report, args[2])
	}
	valid, problems := report["valid"].(bool), report["problems"].([]any)
	if valid != (code == 0) || valid != (len(problems) == 0) {
		t.Errorf("valid %v, problems %v, exit code %d", valid, problems, code)
	}
}

// signalWhenBusy starts the command as a process, waits until it has a folder below dir, and
// interrupts it.
func signalWhenBusy(t *testing.T, dir string, args ...string) (code int, stderr string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), childVariable+"=1", "TMPDIR="+dir)
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	for busy := false; !busy; {
		matches, err := filepath.Glob(filepath.Join(dir, "leat-*", "t", "*", "*", "*.seg"))
		if err != nil {
			t.Fatal(err)
		}
		if busy = len(matches) > 0; !busy {
			runtime.Gosched()
		}
		if !timer.Stop() {
			t.Fatal("no data within 20 s")
		}
		timer.Reset(20 * time.Second)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the exit code says it
	return cmd.ProcessState.ExitCode(), out.String()
}

func TestInterruptedProcess(t *testing.T) {
	needNode(t)
	dir := t.TempDir()
	code, stderr := signalWhenBusy(t, dir, "demo", "--for", "30s", "--rate", "10000")
	if code != exitInterrupted || !strings.Contains(stderr, "interrupted") {
		t.Errorf("interrupted demo: exit code %d, stderr %q; want 130", code, stderr)
	}
	checkEmpty(t, dir)
}
