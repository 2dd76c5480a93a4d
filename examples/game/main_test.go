package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// TestGame plays a short one with all players.
func TestGame(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g := game{players: 200, connections: 25, rate: 30, length: 3 * time.Second}
	if testing.Short() {
		g.players = 60
	}
	var out bytes.Buffer
	if err := g.run(ctx, &out); err != nil {
		t.Fatalf("%v\nhint: %s\noutput: %s", err, leat.HintFor(err), out.String())
	}
	t.Log(out.String())
	for _, want := range []string{
		fmt.Sprintf("%d players on 25 connections, 30 ticks per second for 3s", g.players),
		fmt.Sprintf("%d near players", g.players-1), "1 player behind a link that lost", "and missed 0",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output %q, want %q in it", out.String(), want)
		}
	}
	if strings.Contains(out.String(), "lost 0 packets") || strings.Contains(out.String(), "dropped 0 while") {
		t.Errorf("output %q: the bad link was not bad", out.String())
	}
}

// TestReportFindsWhatIsMissing: the program fails if a player missed a tick.
func TestReportFindsWhatIsMissing(t *testing.T) {
	whole := &player{latencies: []time.Duration{time.Millisecond, 3 * time.Second}}
	holed := &player{latencies: []time.Duration{2 * time.Millisecond}}
	var out bytes.Buffer
	if err := report(&out, "1 player", []*player{whole}, 2); err != nil {
		t.Error(err)
	}
	want := "1 player\n  saw 2 ticks after p50 3s, p99 3s, at most 3s, and missed 0\n"
	if out.String() != want {
		t.Errorf("report %q, want %q", out.String(), want)
	}
	if err := report(&out, "2 players", []*player{whole, holed}, 2); err == nil ||
		err.Error() != "2 players: 1 ticks were missed" {
		t.Errorf("a missed tick is reported as %v", err)
	}
}

// TestGameNeedsPlayers: what cannot be played is refused.
func TestGameNeedsPlayers(t *testing.T) {
	for _, g := range []game{{players: 5, connections: 1, rate: 1}, {players: 1, connections: 2, rate: 1},
		{players: 2, connections: 2}} {
		if err := g.run(t.Context(), &bytes.Buffer{}); err == nil {
			t.Errorf("%+v: no error", g)
		}
	}
}
