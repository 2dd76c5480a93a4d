package observe

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/node"
)

// ask calls the handler as if over loopback.
func ask(t *testing.T, h http.Handler, method, path, host string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func observer(t *testing.T) *Observer {
	t.Helper()
	return New(Config{Data: t.TempDir(), Version: "v1", Revision: "abc", Go: "go1", Clock: clock.System})
}

func TestHandler(t *testing.T) {
	o := observer(t)
	for _, c := range []struct {
		method, path, host string
		status             int
		text               string
	}{
		{"GET", "/livez", "127.0.0.1:4741", 200, `{"live":true}`},
		{"HEAD", "/livez", "localhost:4741", 200, ""},
		{"GET", "/livez", "[::1]:4741", 200, `{"live":true}`},
		{"GET", "/livez", "evil.example:4741", 421, "127.0.0.1"},
		{"GET", "/metrics", "127.0.0.1.evil.example", 421, "127.0.0.1"},
		{"GET", "/metrics", "", 421, "127.0.0.1"},
		{"GET", "/readyz", "localhost", 503, `{"ready":false,"reasons":["starting"]}`},
		{"HEAD", "/readyz", "localhost", 503, ""},
		{"HEAD", "/metrics", "localhost", 200, ""},
		{"POST", "/livez", "localhost", 405, "GET"},
		{"DELETE", "/metrics", "localhost", 405, "GET"},
		{"GET", "/", "localhost", 404, "/metrics"},
		{"GET", "/livez/", "localhost", 404, "/livez"},
	} {
		w := ask(t, o.Handler(true), c.method, c.path, c.host)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("%s %s of %q = %d %s; want %d %s", c.method, c.path, c.host, w.Code, w.Body, c.status, c.text)
		}
		if json.Valid(w.Body.Bytes()) == (c.path == "/metrics" && c.status == 200) {
			t.Errorf("%s %s: %s", c.method, c.path, w.Body)
		}
	}
	if w := ask(t, o.Handler(false), "GET", "/livez", "node1.example:4741"); w.Code != 200 {
		t.Errorf("beyond loopback = %d; want 200", w.Code)
	}
}

// segmentFiles gives the files of users' topics in a data folder.
func segmentFiles(t *testing.T, data string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(data, "t", "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, name := range all {
		topic := filepath.Base(filepath.Dir(filepath.Dir(name)))
		id, err := strconv.ParseUint(topic, 10, 64)
		if err == nil && id >= core.FirstTopicID && strings.HasSuffix(name, ".seg") {
			list = append(list, name)
		}
	}
	if len(list) == 0 {
		t.Fatalf("no segments among %q", all)
	}
	return list
}

// overwrite puts garbage into a file.
func overwrite(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte(strings.Repeat("garbage!", 16)), at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestReady: all reasons not to be ready.
func TestReady(t *testing.T) {
	o := observer(t)
	data := o.cfg.Data
	open := func() *leat.Bus {
		t.Helper()
		bus, err := node.Open(t.Context(), data, node.WithTopic("t", leat.TopicConfig{}))
		if err != nil {
			t.Fatal(err)
		}
		return bus
	}
	free, freeErr := uint64(1<<30), error(nil)
	o.cfg.FreeBytes = func(string) (uint64, error) { return free, freeErr }
	h := o.Handler(true)
	check := func(status int, want string) {
		t.Helper()
		w := ask(t, h, "GET", "/readyz", "localhost")
		if w.Code != status || !strings.Contains(w.Body.String(), want) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("/readyz = %d %s; want %d %s", w.Code, w.Body, status, want)
		}
	}
	check(503, `["starting"]`)
	bus := open()
	o.Serves(bus)
	check(200, `{"ready":true}`)
	free = 1000
	check(503, `disk full: 1000 bytes free`)
	freeErr = errors.New("no such system call")
	check(200, `{"ready":true}`)
	p, err := bus.Producer("t")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), leat.Message{Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	o.Drains()
	check(503, `["draining"]`)
	if err := bus.Close(); err != nil {
		t.Fatal(err)
	}
	check(503, `["draining",`)
	overwrite(t, segmentFiles(t, data)[0], 0)
	bus = open()
	defer bus.Close()
	o.Serves(bus)
	check(503, `partition 0 of topic \"t\"`)
	if e, err := parse(ask(t, h, "GET", "/metrics", "localhost").Body.String()); err != nil ||
		e.value["leat_partitions_unavailable"] != 1 || e.value["leat_node_ready"] != 0 {
		t.Errorf("metrics of a failed partition: %v", err)
	}
}

// TestAdrift: a node that has not heard of the meta node is not ready.
func TestAdrift(t *testing.T) {
	o := observer(t)
	o.cfg.FreeBytes = func(string) (uint64, error) { return 1 << 30, nil }
	bus, err := node.Open(t.Context(), o.cfg.Data, node.WithCluster(node.ClusterConfig{
		Node: 2, Name: "c", Peers: map[uint16]string{1: "127.0.0.1:1", 2: "127.0.0.1:2"}}))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	o.Serves(bus)
	w := ask(t, o.Handler(true), "GET", "/readyz", "localhost")
	if w.Code != 503 || !strings.Contains(w.Body.String(), "meta node") {
		t.Errorf("/readyz = %d %s; want 503 and the meta node", w.Code, w.Body)
	}
}

// TestLowOnSpace: that no new segment is made is a metric, and a reason not to be ready.
func TestLowOnSpace(t *testing.T) {
	o := observer(t)
	for low, reasons := range map[bool]int{false: 0, true: 1} {
		stats := &node.Stats{LowOnSpace: low}
		p := newPage()
		p.logs(stats)
		var b bytes.Buffer
		p.write(&b)
		e, err := parse(b.String())
		if err != nil || e.value["leat_disk_low_on_space"] != float64(reasons) {
			t.Errorf("low %v: %v, %v", low, e.value["leat_disk_low_on_space"], err)
		}
		if got := o.faults(&view{stats: stats, free: leastFree}); len(got) != reasons {
			t.Errorf("low %v: not ready because of %q", low, got)
		}
	}
}
