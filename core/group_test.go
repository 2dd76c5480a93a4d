package core

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A script under testdata/group has one input a line, and under it, indented, its effects. Times
// are seconds after the start: `@12 tick`. Inputs:
//
//	new PARTITIONS | restore PARTITION OFFSET | generation N
//	join M | leave M [gN] | heartbeat M [gN] | revoked M PARTITION [gN]
//	commit M PARTITION OFFSET gN | tick | partitions N | show
//	reset [PARTITION OFFSET]… | forget
type groupScript struct {
	group *Group
	now   int64
	out   GroupEffects
}

var groupEffectNames = [...]string{GroupAssign: "assign", GroupRevoke: "revoke", GroupFence: "fence",
	GroupPersist: "persist", GroupRemove: "remove", GroupReject: "reject"}

func (e GroupEffect) String() string {
	switch e.Kind {
	case GroupFence:
		return fmt.Sprintf("fence %s g%d", e.Member, e.Generation)
	case GroupReject:
		return fmt.Sprintf("reject %s %d %d g%d %s", e.Member, e.Partition, e.Offset, e.Generation,
			e.Code.Info().Name)
	case GroupRevoke:
		return fmt.Sprintf("revoke %s %d g%d", e.Member, e.Partition, e.Generation)
	}
	return fmt.Sprintf("%s %s %d %d g%d", groupEffectNames[e.Kind], e.Member, e.Partition, e.Offset,
		e.Generation)
}

func TestGroupScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/group/*.txt")
	if err != nil || len(paths) < 8 {
		t.Fatalf("%d scripts, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("group", filepath.Base(path)), runGroupScript(t, string(source)))
		})
	}
}

// runGroupScript gives the script back with the effects there really were.
func runGroupScript(t *testing.T, source string) string {
	t.Helper()
	var b strings.Builder
	s := &groupScript{}
	for lines := bufio.NewScanner(strings.NewReader(source)); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "\t") {
			continue
		}
		fmt.Fprintln(&b, line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for _, effect := range s.run(t, strings.Fields(line)) {
			fmt.Fprintf(&b, "\t%s\n", effect)
		}
	}
	return b.String()
}

func (s *groupScript) run(t *testing.T, words []string) []string {
	t.Helper()
	if at, ok := strings.CutPrefix(words[0], "@"); ok {
		seconds, err := strconv.ParseFloat(at, 64)
		if err != nil {
			t.Fatal(err)
		}
		s.now, words = int64(seconds*1e9), words[1:]
	}
	numbers := scriptNumbers(t, words)
	switch words[0] {
	case "new":
		s.group = NewGroup(int32(numbers[0]))
		return nil
	case "restore":
		s.group.Restore(int32(numbers[0]), numbers[1])
		return nil
	case "generation":
		s.group.RestoreGeneration(int32(numbers[0]))
		return nil
	case "show":
		return showGroup(s.group)
	}
	in := scriptInput(t, words, numbers)
	s.out.Reset()
	s.group.Step(&in, s.now, &s.out)
	var effects []string
	for _, e := range s.out.List {
		effects = append(effects, e.String())
	}
	return effects
}

func scriptNumbers(t *testing.T, words []string) []int64 {
	t.Helper()
	var numbers []int64
	for _, word := range words[1:] {
		if n, err := strconv.ParseInt(strings.TrimPrefix(word, "g"), 10, 64); err == nil {
			numbers = append(numbers, n)
		}
	}
	return append(numbers, 0, 0, 0)
}

func scriptInput(t *testing.T, words []string, n []int64) GroupInput {
	t.Helper()
	kinds := map[string]GroupInputKind{"join": GroupJoin, "leave": GroupLeave, "heartbeat": GroupHeartbeat,
		"revoked": GroupRevoked, "commit": GroupCommit, "tick": GroupTick, "partitions": GroupPartitions,
		"reset": GroupReset, "forget": GroupForget}
	in := GroupInput{Kind: kinds[words[0]]}
	switch in.Kind {
	case 0:
		t.Fatalf("unknown input %q", words)
	case GroupPartitions:
		in.Partitions = int32(n[0])
		return in
	case GroupTick, GroupForget:
		return in
	case GroupReset:
		in.Offsets = map[int32]int64{}
		for i := 0; i+1 < len(words)-1; i += 2 {
			in.Offsets[int32(n[i])] = n[i+1]
		}
		return in
	case GroupRevoked:
		in.Partition, in.Generation = int32(n[0]), int32(n[1])
	case GroupCommit:
		in.Partition, in.Offset, in.Generation = int32(n[0]), n[1], int32(n[2])
	default:
		in.Generation = int32(n[0])
	}
	if len(words) > 1 {
		in.Member = words[1]
	}
	return in
}

// showGroup lists members with their partitions, commits and the next deadline.
func showGroup(g *Group) []string {
	lines := []string{fmt.Sprintf("generation %d", g.Generation())}
	for _, id := range append(g.Members(), "") {
		var owned []string
		for p := range g.Partitions() {
			if member, _ := g.Owner(p); member == id {
				owned = append(owned, strconv.Itoa(int(p)))
			}
		}
		if id != "" || len(owned) > 0 {
			lines = append(lines, fmt.Sprintf("%q owns [%s]", id, strings.Join(owned, " ")))
		}
	}
	for partition, offset := range g.Commits() {
		lines = append(lines, fmt.Sprintf("partition %d committed %d", partition, offset))
	}
	if due, ok := g.NextDeadline(); ok {
		lines = append(lines, fmt.Sprintf("deadline @%v", float64(due)/1e9))
	}
	return lines
}

func TestNewGroupAssertsItsSize(t *testing.T) {
	for _, n := range []int32{0, -1, MaxPartitions + 1} {
		wantPanic(t, "core: group on a topic of impossible size", func() { NewGroup(n) })
	}
	wantPanic(t, "core: unknown group input", func() { NewGroup(1).Step(&GroupInput{}, 1, &GroupEffects{}) })
}

func TestGroupQueriesOutOfRange(t *testing.T) {
	g := NewGroup(2)
	g.Restore(2, 5)
	g.Restore(-1, 5)
	g.Restore(1, 5)
	g.Restore(1, -7)
	for _, p := range []int32{-1, 0, 1, 2} {
		if got := g.Committed(p); got != -1 {
			t.Errorf("Committed(%d) = %d, want -1", p, got)
		}
		if member, generation := g.Owner(p); member != "" || generation != 0 {
			t.Errorf("Owner(%d) = %q, %d", p, member, generation)
		}
	}
	if due, ok := g.NextDeadline(); ok {
		t.Errorf("an empty group has a deadline at %d", due)
	}
}

func TestGroupCommitsStopsEarly(t *testing.T) {
	g := NewGroup(4)
	for p := range int32(4) {
		g.Restore(p, int64(p))
	}
	var seen []int32
	for p := range g.Commits() {
		if seen = append(seen, p); p == 1 {
			break
		}
	}
	if !slices.Equal(seen, []int32{0, 1}) {
		t.Errorf("saw %v", seen)
	}
}

// TestGroupClockMayGoBack: a clock that steps back ends no session and prolongs none.
func TestGroupClockMayGoBack(t *testing.T) {
	g, out := NewGroup(1), &GroupEffects{}
	g.Step(&GroupInput{Kind: GroupJoin, Member: "a"}, 100e9, out)
	g.Step(&GroupInput{Kind: GroupHeartbeat, Member: "a"}, 1e9, out)
	if due, _ := g.NextDeadline(); due != 100e9+SessionTimeoutNanos {
		t.Errorf("deadline at %d", due)
	}
}

func TestGroupStepDoesNotAllocate(t *testing.T) {
	g, out, now := NewGroup(64), &GroupEffects{}, int64(1)
	for _, id := range []string{"a", "b", "c"} {
		g.Step(&GroupInput{Kind: GroupJoin, Member: id}, now, out)
	}
	_, generation := g.Owner(0)
	commit := GroupInput{Kind: GroupCommit, Member: "a", Generation: generation}
	heartbeat := GroupInput{Kind: GroupHeartbeat, Member: "a"}
	tick := GroupInput{Kind: GroupTick}
	wantNoAllocs(t, "Step", func() {
		now++
		commit.Offset++
		for _, in := range []*GroupInput{&commit, &heartbeat, &tick} {
			out.Reset()
			g.Step(in, now, out)
		}
	})
	if g.Committed(0) < 1_000 {
		t.Errorf("committed %d: the commits were not taken", g.Committed(0))
	}
}

func BenchmarkGroupRebalance(b *testing.B) {
	g, out := NewGroup(1_024), &GroupEffects{}
	for i := range 16 {
		g.Step(&GroupInput{Kind: GroupJoin, Member: fmt.Sprint("member-", i)}, 1, out)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, kind := range []GroupInputKind{GroupJoin, GroupLeave} {
			out.Reset()
			g.Step(&GroupInput{Kind: kind, Member: "other"}, 1, out)
		}
	}
	b.ReportMetric(float64(2*b.N)/b.Elapsed().Seconds(), "rebalances/s")
}
