package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

func runFor(t *testing.T, o options) (counts, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	c, err := run(ctx, o, &out)
	if err != nil {
		t.Fatalf("%v\nhint: %s\noutput: %s", err, leat.HintFor(err), out.String())
	}
	return c, out.String()
}

// TestExactlyOnce: services that die all the time ship every order once, and what is published again is not
// even stored. Another run on the folder has nothing to do; one with more orders goes on.
func TestExactlyOnce(t *testing.T) {
	o := options{data: t.TempDir(), orders: 40, crashEvery: 5, seed: 3, ids: true}
	c, out := runFor(t, o)
	if c.orders.deaths == 0 || c.shipping.deaths == 0 {
		t.Errorf("%+v: want deaths of both", c)
	}
	if c.orders.known == 0 || c.orders.published-c.orders.known != o.orders {
		t.Errorf("%+v: want some that are known, and %d others", c, o.orders)
	}
	// What it is told again is what it had not acknowledged when it died.
	if c.shipping.again != c.shipping.deaths || c.shipping.delivered-c.shipping.again != o.orders {
		t.Errorf("%+v: want one told again for each death, and %d others", c, o.orders)
	}
	if !strings.Contains(out, "40 orders were taken, and each is shipped once\n") {
		t.Errorf("output %q", out)
	}
	if c, _ := runFor(t, o); c != (counts{}) {
		t.Errorf("another run: %+v, want nothing", c)
	}
	o.orders = 50
	c, _ = runFor(t, o)
	if c.orders.published-c.orders.known != 10 || c.shipping.delivered-c.shipping.again != 10 {
		t.Errorf("ten more: %+v", c)
	}
}

// TestWithoutIDs: what is published again reaches shipping then, which knows it by itself.
func TestWithoutIDs(t *testing.T) {
	c, _ := runFor(t, options{data: t.TempDir(), orders: 30, crashEvery: 5, seed: 3})
	if c.orders.known != 0 || c.shipping.again <= c.shipping.deaths {
		t.Errorf("%+v: want nothing known to the bus, and more told again than shipping died", c)
	}
}

// TestNobodyDies: then nothing is done twice.
func TestNobodyDies(t *testing.T) {
	c, _ := runFor(t, options{data: t.TempDir(), orders: 20, ids: true})
	if want := (counts{orderCounts{published: 20}, shippingCounts{delivered: 20}}); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
}

// TestJournalCutAnywhere: whatever a crash leaves of the last commit, those before it are there, and it is
// there as a whole or not at all.
func TestJournalCutAnywhere(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	j, err := openJournal(whole, nil)
	if err != nil {
		t.Fatal(err)
	}
	ends := []int64{0}
	for i := range 3 {
		if err := j.append(order{Number: i + 1, Customer: strings.Repeat("c", i)}); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, j.size)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "cut")
	for size := range int64(len(text)) + 1 {
		want := 0
		for want < 3 && ends[want+1] <= size {
			want++
		}
		tail := []string{"", "", "\x00\x00\x00", "\x00\n"}[size%4] // what a file system may leave behind
		for _, tail := range slices.Compact([]string{"", tail}) {
			if err := os.WriteFile(name, append(text[:size:size], tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := replay(t, name); got != want {
				t.Fatalf("%d bytes and %q: %d commits, want %d", size, tail, got, want)
			}
			if info, err := os.Stat(name); err != nil || info.Size() != ends[want] {
				t.Fatalf("%d bytes and %q: %d are left, %v; want %d", size, tail, info.Size(), err, ends[want])
			}
		}
	}
	text[ends[1]+12] ^= 1
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged, err := openJournal(name, func([]byte) error { return nil })
	if err == nil {
		_ = damaged.close()
		t.Fatal("a journal that is damaged in the middle is opened")
	}
	if want := fmt.Sprintf("damaged at byte %d", ends[1]); !strings.Contains(err.Error(), want) {
		t.Errorf("a damaged journal: %v, want %q in it", err, want)
	}
}

// replay opens a journal of orders and counts them.
func replay(t *testing.T, name string) (commits int) {
	t.Helper()
	j, err := openJournal(name, func(commit []byte) error {
		var o order
		err := json.Unmarshal(commit, &o)
		if commits++; o.Number != commits {
			t.Errorf("commit %d is %+v", commits, o)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	return commits
}

// TestCompareBites: an order that is not shipped, or shipped as another, is found.
func TestCompareBites(t *testing.T) {
	first := order{Number: 1, Customer: "c", Cents: 5}
	for what, shipped := range map[string][]shipment{
		"not shipped":        nil,
		"shipped as another": {{"order-1-placed", order{Number: 1, Customer: "c", Cents: 6}}},
		"one too many":       {{"order-1-placed", first}, {"order-2-placed", first}},
		"twice":              {{"order-1-placed", first}, {"order-1-placed", first}},
	} {
		dir := t.TempDir()
		orders, err := openOrders(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := orders.commit(orderCommit{Order: &first, Event: &event{"order-1-placed", first}}); err != nil {
			t.Fatal(err)
		}
		shipping, err := openShipping(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range shipped {
			if err := shipping.journal.append(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := compareStores(dir, &bytes.Buffer{}); err == nil {
			t.Errorf("%s: no error", what)
		}
		_, _ = orders.journal.close(), shipping.journal.close()
	}
}

func TestOptions(t *testing.T) {
	for o, good := range map[options]bool{
		{}: true, {crashEvery: 2}: true, {orders: -1}: false, {crashEvery: -1}: false, {crashEvery: 1}: false,
	} {
		if err := o.check(); (err == nil) != good {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
