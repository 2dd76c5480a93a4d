package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

const quakes = "../quakes/earthquakes.tsv"

// expected is what the file says by itself.
type expected struct {
	ids                 map[string]bool
	negative, noStation int // quakes by the first thing that the sample did not show
}

func expect(t *testing.T) expected {
	t.Helper()
	file, err := os.Open(quakes)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	e := expected{ids: map[string]bool{}}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var fields map[string]any
		if err := json.Unmarshal(lines.Bytes()[bytes.IndexByte(lines.Bytes(), '{'):], &fields); err != nil {
			t.Fatal(err)
		}
		e.ids[fields["id"].(string)] = true
		if fields["mag"].(float64) < 0 {
			e.negative++
		} else if fields["stations"] == nil {
			e.noStation++
		}
	}
	return e
}

// TestStory: every quake gets into the catalogue in the end, and no message is unaccounted for on the way.
func TestStory(t *testing.T) {
	want := expect(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	got, err := run(ctx, quakes, &out)
	if err != nil {
		t.Fatalf("%v\nhint: %s\noutput: %s", err, leat.HintFor(err), out.String())
	}
	if len(got.quakes) != len(want.ids) {
		t.Errorf("%d quakes in the catalogue, want %d", len(got.quakes), len(want.ids))
	}
	for id := range got.quakes {
		if !want.ids[id] {
			t.Errorf("the catalogue has %q, the file has not", id)
		}
	}
	total, mended := len(want.ids)+cutOff, want.negative+want.noStation
	dead := mended + cutOff
	rest := out.String()
	for _, line := range []string{
		fmt.Sprintf("%d published = %d done + 0 waiting + %d dead + 0 redriven + 0 dropped\n", total, total-dead,
			dead),
		fmt.Sprintf("quakes.dlq.catalogue has %d letters:\n", dead),
		fmt.Sprintf(" %d attempts used up, for example quakes/", want.noStation), ", attempts 3,",
		fmt.Sprintf(" %d rejected, bad magnitude, for example quakes/", want.negative), ", attempts 1,",
		", want 0 or more\"",
		fmt.Sprintf(" %d rejected, not a quake, for example quakes/", cutOff),
		fmt.Sprintf("a redrive would publish %d messages again\n", dead),
		fmt.Sprintf("%d are redriven; ", dead),
		fmt.Sprintf("%d published = %d done + 0 waiting + %d dead + %d redriven + 0 dropped\n", total+dead,
			total-cutOff, cutOff, dead),
		fmt.Sprintf("has %d letters:\n", cutOff),
		fmt.Sprintf("%d are dropped:\n", cutOff),
		fmt.Sprintf("%d published = %d done + 0 waiting + 0 dead + %d redriven + %d dropped\n", total+dead,
			total-cutOff, dead, cutOff),
	} {
		_, behind, found := strings.Cut(rest, line)
		if !found {
			t.Fatalf("output %s\nwant %q in it behind the lines before", out.String(), line)
		}
		rest = behind
	}
}

// TestAccount: a message that is missing, or that is there twice, is found.
func TestAccount(t *testing.T) {
	whole := account{published: 21, done: 1, waiting: 2, dead: 3, redriven: 5, dropped: 10}
	if err := whole.check(); err != nil {
		t.Error(err)
	}
	for _, spoil := range []func(*account){
		func(a *account) { a.published++ }, func(a *account) { a.done-- }, func(a *account) { a.waiting-- },
		func(a *account) { a.dead-- }, func(a *account) { a.redriven++ }, func(a *account) { a.dropped++ },
	} {
		bad := whole
		if spoil(&bad); bad.check() == nil {
			t.Errorf("%v is not noticed", bad)
		}
	}
}

// outcome is what a version of the consumer makes of a message.
type outcome string

const (
	handled  outcome = "handled"
	retried  outcome = "retried"
	rejects  outcome = "rejected"
	versions         = 2
)

func outcomeOf(err error) outcome {
	var hopeless hopelessError
	switch {
	case err == nil:
		return handled
	case errors.As(err, &hopeless):
		return rejects
	}
	return retried
}

func TestParsers(t *testing.T) {
	for value, want := range map[string][versions]outcome{
		`{"id":"a","mag":1,"stations":3}`:     {handled, handled},
		`{"id":"a","mag":-0.2,"stations":3}`:  {rejects, handled},
		`{"id":"a","mag":1,"stations":null}`:  {retried, handled},
		`{"id":"a","mag":-1,"stations":null}`: {rejects, handled},
		`{"id":"a","mag":1,"sta`:              {rejects, rejects},
		``:                                    {rejects, rejects},
	} {
		for version, p := range [versions]parser{parseSample, parse} {
			if _, err := p([]byte(value)); outcomeOf(err) != want[version] {
				t.Errorf("version %d of %s: %v, want it %s", version, value, err, want[version])
			}
		}
	}
}

func TestNoFile(t *testing.T) {
	if _, err := run(t.Context(), "absent.tsv", &bytes.Buffer{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file of quakes: %v", err)
	}
}
