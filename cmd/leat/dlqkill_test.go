package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/leatbus/leat"
)

const (
	killLetters = 1500
	// A job at 100 letters a second would take 15 s, and a step of it has 101 at most.
	killRate     = 100
	killStepMost = killRate + 1
)

// dialed calls f with a bus that is connected to a server.
func dialed(t *testing.T, server string, f func(ctx context.Context, bus *leat.Bus)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	bus, err := leat.Dial(ctx, server, leat.WithUnreachableAfter(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	f(ctx, bus)
}

// rejectAll publishes numbers to topic t and has group g reject each.
func rejectAll(t *testing.T, server string, n int) {
	t.Helper()
	dialed(t, server, func(ctx context.Context, bus *leat.Bus) {
		p, err := bus.Producer("t")
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			number := strconv.Itoa(i)
			p.PublishAsync(leat.Message{Key: []byte(number), Value: []byte(number)}, nil)
		}
		if err := errors.Join(p.Flush(ctx), p.Close()); err != nil {
			t.Fatal(err)
		}
		sub, err := bus.Subscribe("t", leat.Group("g"), leat.Queue())
		if err != nil {
			t.Fatal(err)
		}
		left := n
		for m, err := range sub.Messages(ctx) {
			if err == nil {
				err = m.Reject("no price")
			}
			if err != nil {
				t.Fatal(err)
			}
			if left--; left == 0 {
				break
			}
		}
		if err := sub.Close(); err != nil || left > 0 {
			t.Fatalf("%d messages did not come: %v", left, err)
		}
	})
}

// letterCounts asks the admin API.
func letterCounts(t *testing.T, s *serving) (pending, redriven int) {
	t.Helper()
	status, body := get(t, "http://"+s.door+"/api/v1/dead-letters/t.dlq.g")
	if status != http.StatusOK {
		return 0, 0 // it is not there yet
	}
	doc := document(t, body)
	return int(doc["pending"].(float64)), int(doc["redriven"].(float64))
}

// killAfter kills a server when a redrive has begun, starts it again, and gives how many letters are
// redriven: not fewer than promised says then.
func killAfter(t *testing.T, s *serving, data string, promised func() (n int, begun bool)) (*serving, int) {
	t.Helper()
	least := 0
	eventually(t, "letters are redriven", func() (begun bool) {
		least, begun = promised()
		return begun
	})
	if code := s.end(os.Kill); code == 0 {
		t.Error("killed, and exit code 0")
	}
	s = startServer(t, data, "--listen", s.listen, "--gateway", "127.0.0.1:0")
	pending, redriven := letterCounts(t, s)
	if pending+redriven != killLetters || redriven < least || pending == 0 {
		t.Errorf("after kill -9: %d letters pending and %d redriven; want %d in all, %d or more redriven, not all",
			pending, redriven, killLetters, least)
	}
	return s, redriven
}

// TestRedriveSurvivesKill: kill -9 of the server ends a job of the HTTP door, and then comes in the middle of
// a command. What follows goes on with the letters that are left: none is lost, and only those of the step
// under way may come twice.
func TestRedriveSurvivesKill(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	data := filepath.Join(t.TempDir(), "data")
	s := startServer(t, data, "--listen", freeAddresses(t, 1)[0], "--gateway", "127.0.0.1:0")
	mustRemote(t, s.listen, "", "topic create t --partitions 2 --ack page")
	rejectAll(t, s.listen, killLetters)
	eventually(t, "all are dead letters", func() bool {
		pending, _ := letterCounts(t, s)
		return pending == killLetters
	})

	job, err := http.Post("http://"+s.door+"/api/v1/dead-letters/t.dlq.g/redrive", "application/json",
		strings.NewReader(`{"rate":`+strconv.Itoa(killRate)+`}`))
	if err != nil || job.StatusCode != http.StatusAccepted {
		t.Fatalf("POST = %+v, %v", job, err)
	}
	job.Body.Close()
	s, before := killAfter(t, s, data, func() (int, bool) {
		_, body := get(t, "http://"+s.door+job.Header.Get("Location"))
		done := int(document(t, body)["done"].(float64))
		return done, done > 0
	})
	if _, body := get(t, "http://"+s.door+"/api/v1/jobs"); !strings.Contains(body, `"jobs":[]`) {
		t.Errorf("jobs of a node that was killed: %s", body)
	}

	command := process(t, "dlq", "redrive", "t.dlq.g", "--rate", strconv.Itoa(killRate), "-s", s.listen,
		"-o", "json")
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	s, _ = killAfter(t, s, data, func() (int, bool) {
		// What is about to be stored counts, too: once a step has ended, the command has heard of one.
		_, redriven := letterCounts(t, s)
		return before, redriven > before+killStepMost
	})
	_ = command.Process.Signal(os.Interrupt) // it may go on by itself, at its slow rate, or have ended
	_ = command.Wait()                       // the exit code is that of an interrupt, or of a lost connection
	told := int(document(t, stdout.String())["redriven"].(float64))
	if _, redriven := letterCounts(t, s); redriven < before+told {
		t.Errorf("%d letters were redriven before, the command has told %d, and there are %d: %s", before, told,
			redriven, &stderr)
	}

	got := document(t, mustRemote(t, s.listen, "", "dlq redrive t.dlq.g -o json"))
	if got["redriven"] != got["pending"] || got["failed"] != 0.0 {
		t.Errorf("the rest: %v", got)
	}
	if pending, redriven := letterCounts(t, s); pending != 0 || redriven != killLetters {
		t.Errorf("at the end %d letters are pending and %d redriven; want 0 and %d", pending, redriven,
			killLetters)
	}
	checkRedriven(t, s.listen)
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM: exit code %d\n%s", code, s.log)
	}
}

// checkRedriven wants every number in the topic twice, as it was published and as it was redriven, and few
// once more.
func checkRedriven(t *testing.T, server string) {
	t.Helper()
	dialed(t, server, func(ctx context.Context, bus *leat.Bus) {
		topics, err := bus.Topics(ctx)
		if err != nil {
			t.Fatal(err)
		}
		left := int64(0)
		for i := range topics {
			for _, p := range topics[i].Partitions {
				if topics[i].Name == "t" {
					left += p.End
				}
			}
		}
		sub, err := bus.Subscribe("t", leat.From(leat.Earliest))
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		var seen [killLetters]int
		for m, err := range sub.Messages(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			number, err := strconv.Atoi(string(m.Value))
			if err != nil || number >= killLetters || number < 0 {
				t.Fatalf("message %q", m.Value)
			}
			seen[number]++
			if left--; left == 0 {
				break
			}
		}
		again := 0
		for number, times := range seen {
			if times < 2 {
				t.Errorf("letter %d is lost", number)
			}
			again += times - 2
		}
		if again > 2*killStepMost {
			t.Errorf("%d letters came twice; want at most those of two steps, %d", again, 2*killStepMost)
		}
	})
}
