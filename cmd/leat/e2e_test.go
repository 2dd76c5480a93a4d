package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leatbus/leat/internal/netfault"
)

// remote runs a command line as a process against a server.
func remote(t *testing.T, server, stdin string, args ...string) result {
	t.Helper()
	cmd := process(t, append([]string{"-s", server}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	timer := time.AfterFunc(3*patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Run() // the exit code says it
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// mustRemote runs a command line that must succeed.
func mustRemote(t *testing.T, server, stdin, line string) string {
	t.Helper()
	got := remote(t, server, stdin, shellWords(t, line)...)
	if got.code != 0 {
		t.Fatalf("leat %s = %+v; want exit code 0", line, got)
	}
	return got.stdout
}

// TestShowcase is what a newcomer does: a server, a topic, a file into it, and the same lines out of it.
func TestShowcase(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	data := filepath.Join(t.TempDir(), "data")
	s := startServer(t, data)
	text := quakes(t)
	mustRemote(t, s.listen, "", "topic create quakes --partitions 4")
	got := mustRemote(t, s.listen, text, `pub quakes - --key-sep '\t' -o json`)
	if doc := document(t, got); doc["published"] != 1707.0 {
		t.Fatalf("pub = %s; want 1707 published", got)
	}
	const all = `sub quakes --from earliest --count 1707 -f '%k\t%v\n'`
	sameLinesPerKey(t, mustRemote(t, s.listen, "", all), text)
	first := mustRemote(t, s.listen, "", `sub quakes --group g --count 700 -f '%k\t%v\n'`)
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM: exit code %d\n%s", code, s.log)
	}
	s = startServer(t, data)
	sameLinesPerKey(t, mustRemote(t, s.listen, "", all), text)
	rest := mustRemote(t, s.listen, "", `sub quakes --group g --count 1007 -f '%k\t%v\n'`)
	sameLinesPerKey(t, first+rest, text)
	got = mustRemote(t, s.listen, "", "group ls")
	if !strings.HasSuffix(got, "g      quakes  stream        0    0   0s\n") {
		t.Errorf("group ls:\n%s", got)
	}
	if got = mustRemote(t, s.listen, "", "cluster status"); !strings.Contains(got, "up") {
		t.Errorf("cluster status:\n%s", got)
	}
	missing := remote(t, s.listen, "", "sub", "quaks")
	if missing.code != 3 || !strings.Contains(missing.stderr, `did you mean "quakes"?`) {
		t.Errorf("sub of a topic that is not there = %+v; want exit code 3", missing)
	}
	if code := s.end(os.Interrupt); code != 0 {
		t.Errorf("SIGINT: exit code %d\n%s", code, s.log)
	}
	gone := remote(t, s.listen, "", "topic", "ls", "--timeout", "300ms")
	if gone.code != 4 || !strings.Contains(gone.stderr, "hint: ") {
		t.Errorf("after the end of the server: %+v; want exit code 4", gone)
	}
}

// TestPublishSurvivesKill: the server is killed and comes back in the middle of a publish. Nothing is
// lost, doubled or reordered.
func TestPublishSurvivesKill(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	data := filepath.Join(t.TempDir(), "data")
	s := startServer(t, data, "--listen", freeAddresses(t, 1)[0])
	mustRemote(t, s.listen, "", "topic create t --partitions 2 --ack page")
	count := 1_000_000
	if testing.Short() {
		count = 100_000
	}
	pub := process(t, "pub", "t", "-", "--key-sep", ":", "-s", s.listen, "-o", "json")
	var stdout, stderr bytes.Buffer
	pub.Stdout, pub.Stderr = &stdout, &stderr
	stdin, err := pub.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := pub.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pub.Process.Kill() })
	numbers(t, stdin, 0, count/2)
	if code := s.end(os.Kill); code == 0 {
		t.Error("killed, and exit code 0")
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		numbers(t, stdin, count/2, count)
		stdin.Close()
	}()
	again := startServer(t, data, "--listen", s.listen)
	<-written
	if err := pub.Wait(); err != nil {
		t.Fatalf("pub: %v, %s %s", err, &stdout, &stderr)
	}
	if doc := document(t, stdout.String()); doc["published"] != float64(count) {
		t.Errorf("pub = %s; want %d published", &stdout, count)
	}
	all := fmt.Sprintf("sub t --from earliest --count %d -f '%%k:%%v\n'", count)
	checkNumbers(t, mustRemote(t, again.listen, "", all), count)
	info := document(t, mustRemote(t, again.listen, "", "topic describe t -o json"))
	if info["messages"] != float64(count) {
		t.Errorf("%v messages are stored; want %d", info["messages"], count)
	}
	if code := again.end(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM: exit code %d\n%s", code, again.log)
	}
}

const numberKeys = 7

// numbers writes a line for each number, with one of a few keys.
func numbers(t *testing.T, w io.Writer, from, to int) {
	var buf []byte
	for i := from; i < to; i++ {
		buf = fmt.Appendf(buf, "k%d:%d\n", i%numberKeys, i)
		if len(buf) > 32<<10 || i == to-1 {
			if _, err := w.Write(buf); err != nil {
				t.Errorf("write to pub: %v", err)
				return
			}
			buf = buf[:0]
		}
	}
}

// checkNumbers wants every number below count once, in order for each key.
func checkNumbers(t *testing.T, text string, count int) {
	t.Helper()
	var next [numberKeys]int
	for i := range next {
		next[i] = i
	}
	for line := range strings.Lines(text) {
		var key, n int
		if _, err := fmt.Sscanf(line, "k%d:%d\n", &key, &n); err != nil || next[key] != n {
			t.Fatalf("line %q; want number %d for its key (%v)", line, next[key], err)
		}
		next[key] += numberKeys
	}
	for key, n := range next {
		if n < count {
			t.Errorf("key %d ends before %d; want all below %d", key, n, count)
		}
	}
}

// TestInterruptedPublish: a signal ends a publish whose input is still open, with or without a server, and
// what was acknowledged is told.
func TestInterruptedPublish(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	s := startServer(t, filepath.Join(t.TempDir(), "data"))
	mustRemote(t, s.listen, "", "topic create one")
	mustRemote(t, s.listen, "", "topic create two")
	testInterrupted(t, s, "one", false)
	testInterrupted(t, s, "two", true)
}

func testInterrupted(t *testing.T, s *serving, topic string, kill bool) {
	t.Helper()
	pub := process(t, "pub", topic, "-", "-s", s.listen, "-o", "json")
	var stdout, stderr bytes.Buffer
	pub.Stdout, pub.Stderr = &stdout, &stderr
	stdin, err := pub.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := pub.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pub.Process.Kill() })
	if _, err := io.WriteString(stdin, "a\nb\nc\n"); err != nil {
		t.Fatal(err)
	}
	if got := mustRemote(t, s.listen, "", "sub "+topic+" --from earliest --count 3"); got != "a\nb\nc\n" {
		t.Fatalf("sub printed %q", got)
	}
	if kill {
		s.end(os.Kill)
		if _, err := io.WriteString(stdin, "d\ne\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = pub.Wait() // the exit code says it
	code, n := pub.ProcessState.ExitCode(), document(t, stdout.String())["published"].(float64)
	// A server that is killed may have stored what it did not come to acknowledge.
	if code != exitInterrupted || n > 3 || n < 3 && !kill {
		t.Errorf("interrupted pub: exit code %d, %s %s; want 130 and 3 published", code, &stdout, &stderr)
	}
}

// TestRemoteBrokenPipe: a reader that goes away ends a subscription quietly.
func TestRemoteBrokenPipe(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	s := startServer(t, filepath.Join(t.TempDir(), "data"))
	mustRemote(t, s.listen, "", "topic create t --ack page")
	mustRemote(t, s.listen, quakes(t), "pub t -")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	sub := process(t, "sub", "t", "--from", "earliest", "-s", s.listen)
	var stderr bytes.Buffer
	sub.Stdout, sub.Stderr = write, &stderr
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = sub.Process.Kill() })
	defer timer.Stop()
	write.Close()
	if _, err := io.ReadFull(read, make([]byte, 100)); err != nil {
		t.Error(err)
	}
	read.Close()
	mustRemote(t, s.listen, quakes(t), "pub t -") // more than the pipe holds
	_ = sub.Wait()                                // the exit code says it
	if code := sub.ProcessState.ExitCode(); code != 0 || stderr.Len() > 0 {
		t.Errorf("sub into a broken pipe: exit code %d, %s; want 0 and silence", code, &stderr)
	}
}

// freeAddresses gives UDP addresses of this machine that nothing listens on.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var list []string
	for range n {
		address, err := netfault.FreeAddress("udp")
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, address)
	}
	return list
}

// TestCluster runs three nodes as processes: clients need one address, a node that goes takes only its own
// partitions with it, and comes back with them.
func TestCluster(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	addresses := freeAddresses(t, 3)
	peers := fmt.Sprintf("1=%s,2=%s,3=%s", addresses[0], addresses[1], addresses[2])
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	nodes := make([]*serving, 3)
	start := func(i int) {
		nodes[i] = startServer(t, dirs[i], "--listen", addresses[i], "--node", fmt.Sprint(i+1), "--peers", peers)
	}
	for i := range nodes {
		start(i)
	}
	first, last := addresses[0], addresses[2]
	eventually(t, "all nodes see each other", func() bool {
		return remote(t, first, "", "cluster", "status", "--fail").code == 0
	})
	mustRemote(t, first, "", "topic create quakes --partitions 6")
	text := quakes(t)
	mustRemote(t, last, text, `pub quakes - --key-sep '\t'`)
	sameLinesPerKey(t, mustRemote(t, first, "", `sub quakes --from earliest --count 1707 -f '%k\t%v\n'`), text)
	sameLinesPerKey(t, mustRemote(t, last, "", `sub quakes --group g --count 1707 -f '%k\t%v\n'`), text)
	if code, body := get(t, "http://"+nodes[1].http+"/readyz"); code != 200 {
		t.Errorf("/readyz of node 2 = %d %s", code, body)
	}
	if code := nodes[2].end(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM: exit code %d\n%s", code, nodes[2].log)
	}
	eventually(t, "node 3 is told down", func() bool {
		got := remote(t, first, "", "cluster", "status", "--fail")
		return got.code == 1 && strings.Contains(got.stderr, "node 3 is down")
	})
	start(2)
	eventually(t, "node 3 is up again", func() bool {
		return remote(t, first, "", "cluster", "status", "--fail").code == 0
	})
	sameLinesPerKey(t, mustRemote(t, first, "", `sub quakes --from earliest --count 1707 -f '%k\t%v\n'`), text)
	for _, n := range nodes {
		if code := n.end(syscall.SIGTERM); code != 0 {
			t.Errorf("SIGTERM: exit code %d\n%s", code, n.log)
		}
	}
}
