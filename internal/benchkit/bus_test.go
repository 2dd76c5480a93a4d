package benchkit

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// fillVariable makes this test binary the process that Open kills; its arguments are folder and bytes.
const fillVariable = "LEAT_BENCHKIT_FILL"

func TestMain(m *testing.M) {
	if os.Getenv(fillVariable) != "" {
		bytes, err := strconv.ParseInt(os.Args[2], 10, 64)
		if err == nil {
			err = FillAndWait(context.Background(), os.Args[1], bytes, os.Stdout)
		}
		panic(err)
	}
	if behaviour := os.Getenv(sampleVariable); behaviour != "" {
		sampleProcess(behaviour)
		return
	}
	if dir := os.Getenv(netVariable); dir != "" {
		if err := NetServer(context.Background(), dir, os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

func needNode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no node on Windows yet")
	}
}

func TestBus(t *testing.T) {
	needNode(t)
	dir := t.TempDir()
	report, err := Bus(t.Context(), Options{Dir: dir, For: 50 * time.Millisecond, Rounds: 1,
		Guard: GuardOptions{Off: true}})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"publish with receipts", "publish and deliver", "publisher held", "on disk per message",
		"memcpy of 96 B",
		"publish to handler, consumer spinning", "publish to handler, consumer waiting",
		"Go channel to a blocked receiver", "a word between two processors",
		"publish to handler, consumer parked", "Go channel to a parked receiver",
		"64 publishers, one partition", "records per sync round", "4 KiB pwrite + fdatasync"}
	if len(report.Rows) < len(names) {
		names = slices.DeleteFunc(names, func(s string) bool { return s == "records per sync round" })
	}
	checkReport(t, report, names...)
	checkEmpty(t, dir)
	for _, problem := range report.Problems {
		// A busy machine may miss the rate; nothing else may go wrong.
		if !strings.Contains(problem, "disturbed") {
			t.Error(problem)
		}
	}
	for _, row := range report.Rows[5:10] {
		if l := row.Latency; l == nil || l.Count == 0 || l.P50 <= 0 || l.P99 < l.P50 || l.Max < l.P999 {
			t.Errorf("%s: latency %+v; want rising figures", row.Name, row.Latency)
		}
	}
}

func TestBusRefusesSizes(t *testing.T) {
	for _, size := range []int{1, minValueBytes - 1, core.DefaultRecordBytes} {
		_, err := Bus(t.Context(), Options{Dir: t.TempDir(), Size: size})
		if core.CodeOf(err) != core.CodeInvalidConfig {
			t.Errorf("Bus with size %d = %v; want INVALID_CONFIG", size, err)
		}
	}
}

func TestBusEndsWithItsContext(t *testing.T) {
	needNode(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Bus(ctx, Options{Dir: dir, For: time.Minute, Rounds: 1, Progress: func(string) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Bus = %v; want %v", err, context.Canceled)
	}
	checkEmpty(t, dir)
}

func TestLoadIsObservedInOrder(t *testing.T) {
	l, s := newLoad(minValueBytes), NewSequences(loadKeys)
	for i := range int64(3 * loadKeys) {
		m := l.message(i)
		if intended, ok := observe(s, &m); !ok || intended != i {
			t.Fatalf("message %d: observe = %d, %v", i, intended, ok)
		}
	}
	if v := s.Against(l.sent); !v.Clean() || v.Delivered != l.total {
		t.Errorf("verdict %+v of %d messages; want all and clean", v, l.total)
	}
	if _, ok := observe(s, &leat.Message{Value: make([]byte, minValueBytes-1)}); ok {
		t.Error("observe of a short value = true; want false")
	}
	if n := testing.AllocsPerRun(100, func() { m := l.message(1); observe(s, &m) }); n != 0 {
		t.Errorf("message and observe allocate %v times; want 0", n)
	}
}

func TestIdle(t *testing.T) {
	needNode(t)
	dir := t.TempDir()
	report, err := Idle(t.Context(), Options{Dir: dir, For: 50 * time.Millisecond, Rounds: 1, Idle: 20})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"open an empty folder"}
	if runtime.GOOS == "linux" {
		names = append(names, "processor, 20 partitions with one record each",
			"resident memory, 20 partitions with one record each")
	}
	checkReport(t, report, names...)
	checkEmpty(t, dir)
}

func fillProcess(ctx context.Context, dir string, bytes int64) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, dir, strconv.FormatInt(bytes, 10))
	cmd.Env = append(os.Environ(), fillVariable+"=1")
	cmd.Stderr = os.Stderr
	return cmd, nil
}

func TestOpen(t *testing.T) {
	needNode(t)
	dir := t.TempDir()
	report, err := Open(t.Context(), Options{Dir: dir, Bytes: 2 << 20, Rounds: 2, Filler: fillProcess})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Valid {
		t.Errorf("problems: %v", report.Problems)
	}
	checkReport(t, report, "reopen 2 MB after kill -9")
	checkEmpty(t, dir)
}

func TestOpenMissesWhatIsNotThere(t *testing.T) {
	needNode(t)
	dir := t.TempDir()
	b, err := newBench("open", Options{Dir: dir, Bytes: 1 << 20, Filler: fillProcess})
	if err != nil {
		t.Fatal(err)
	}
	f, err := b.fillAndKill(t.Context(), b.dir+"/bus")
	if err != nil {
		t.Fatal(err)
	}
	f.Acked[2] += 1 << 40
	if _, err := b.reopen(t.Context(), b.dir+"/bus", f); err != nil {
		t.Fatal(err)
	}
	if b.report.Valid || b.report.Err() == nil {
		t.Error("the run is valid although acknowledged records are missing")
	}
	if b.end(&err); err != nil {
		t.Error(err)
	}
}

func TestOpenOfAFillerThatFails(t *testing.T) {
	needNode(t)
	failing := func(ctx context.Context, dir string, _ int64) (*exec.Cmd, error) {
		return fillProcess(ctx, dir+"/no\x00name", 1)
	}
	if _, err := Open(t.Context(), Options{Dir: t.TempDir(), Bytes: 1, Filler: failing}); err == nil {
		t.Error("Open = nil; want the error of the filler")
	}
	if _, err := Open(t.Context(), Options{Dir: t.TempDir(), Bytes: 1}); err == nil {
		t.Error("Open without a filler = nil; want an error")
	}
}
