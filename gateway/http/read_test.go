package httpdoor

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// page reads a page.
func (d *desk) page(topic string, query ...string) Page {
	d.t.Helper()
	values := url.Values{}
	for i := 0; i < len(query); i += 2 {
		values.Set(query[i], query[i+1])
	}
	got := d.call("GET", "/v1/topics/"+topic+"/messages?"+values.Encode(), nil)
	if got.status != http.StatusOK {
		d.t.Fatalf("%d %s", got.status, got.body)
	}
	return decode[Page](d.t, got.body)
}

// TestReadPages: pages that follow each other have every message of every partition once.
func TestReadPages(t *testing.T) {
	d := open(t, Config{})
	for i := range 25 {
		d.publish("wide", leat.Message{Partition: int32(i % 3), Value: fmt.Append(nil, i)})
	}
	seen := map[string]int{}
	next, pages := "earliest", 0
	for {
		p := d.page("wide", "from", next, "limit", "7")
		if pages++; len(p.Messages) == 0 {
			if p.Next != next || next != "0:9,1:8,2:8" {
				t.Errorf("at the end next is %s after %s", p.Next, next)
			}
			break
		}
		for _, m := range p.Messages {
			seen[*m.Value]++
		}
		next = p.Next
	}
	if len(seen) != 25 || pages != 5 {
		t.Errorf("%d messages in %d pages: %v", len(seen), pages, seen)
	}
	for value, n := range seen {
		if n != 1 {
			t.Errorf("message %s came %d times", value, n)
		}
	}
}

func TestReadFrom(t *testing.T) {
	d := open(t, Config{})
	var receipts []leat.Receipt
	for i := range 6 {
		receipts = append(receipts, d.publish("wide", leat.Message{Partition: int32(i % 2),
			Value: fmt.Append(nil, i)}))
	}
	late := receipts[5].Time.Add(time.Hour).Format(time.RFC3339Nano)
	for name, tt := range map[string]struct {
		query []string
		want  string
		next  string
	}{
		"the start":   {[]string{"limit", "1000"}, "0 1 2 3 4 5", "0:3,1:3,2:0"},
		"a partition": {[]string{"partition", "1"}, "1 3 5", "1:3"},
		"the end":     {[]string{"from", "latest"}, "", "0:3,1:3,2:0"},
		"an offset":   {[]string{"from", "2", "partition", "0"}, "4", "0:3"},
		"a cursor":    {[]string{"from", "0:1,1:2"}, "2 4 5", "0:3,1:3"},
		"part of it":  {[]string{"from", "0:1,1:2", "partition", "1"}, "5", "1:3"},
		"a time before": {[]string{"from", "@2020-01-01T00:00:00Z"}, "0 1 2 3 4 5",
			"0:3,1:3,2:@1577836800000000000"},
		"a time after": {[]string{"from", "@" + late, "partition", "0"}, "", fmt.Sprintf("0:@%d",
			must(time.Parse(time.RFC3339Nano, late)).UnixNano())},
	} {
		p := d.page("wide", tt.query...)
		var values []string
		for _, m := range p.Messages {
			values = append(values, *m.Value)
		}
		got := strings.Fields(strings.Join(values, " "))
		want := map[string]bool{}
		for _, v := range strings.Fields(tt.want) {
			want[v] = true
		}
		for _, v := range got {
			if !want[v] {
				t.Errorf("%s: message %s", name, v)
			}
			delete(want, v)
		}
		if len(want) > 0 || p.Next != tt.next {
			t.Errorf("%s: %v, next %s; want %s, %s", name, got, p.Next, tt.want, tt.next)
		}
	}
	for name, tt := range map[string]struct {
		path   string
		status int
		code   core.Code
		part   string
	}{
		"no topic":            {"no/messages", 404, core.CodeTopicNotFound, `"no"`},
		"no position":         {"wide/messages?from=now", 400, core.CodeInvalidRequest, `"now"`},
		"no time":             {"wide/messages?from=@1", 400, core.CodeInvalidRequest, `"@1"`},
		"no cursor":           {"wide/messages?from=a:1", 400, core.CodeInvalidRequest, `"a:1"`},
		"no partition":        {"wide/messages?partition=3", 404, core.CodePartitionUnknown, "3"},
		"no such in a cursor": {"wide/messages?from=3:0", 404, core.CodePartitionUnknown, "3"},
		"not in the cursor":   {"wide/messages?from=0:0&partition=1", 400, core.CodeInvalidRequest, "1"},
		"beyond the end":      {"wide/messages?from=0:4", 416, core.CodeOffsetOutOfRange, "[0, 3)"},
		"beyond one end":      {"wide/messages?from=1", 416, core.CodeOffsetOutOfRange, "partition 2"},
		"too many":            {"wide/messages?limit=1001", 422, core.CodeInvalidRequest, "limit"},
		"too long":            {"wide/messages?wait=61", 422, core.CodeInvalidRequest, "wait"},
		"no number":           {"wide/messages?limit=x", 422, core.CodeInvalidRequest, "limit"},
	} {
		d.wants(d.call("GET", "/v1/topics/"+tt.path, nil), name, tt.status, tt.code, tt.part)
	}
}

// TestReadWaits: for a first message, and ends when the door closes.
func TestReadWaits(t *testing.T) {
	d := open(t, Config{})
	pages := make(chan answer)
	wait := func() { pages <- d.call("GET", "/v1/topics/t/messages?from=latest&wait=60", nil) }
	go wait()
	// Whenever the reader has its place, it gets one of these.
	for done := false; !done; {
		select {
		case got := <-pages:
			if p := decode[Page](t, got.body); len(p.Messages) != 1 {
				t.Errorf("%s", got.body)
			}
			done = true
		default:
			d.publish("t", leat.Message{Value: []byte("x")})
		}
	}
	go wait() // for what nobody publishes
	for d.door.streams.Load() == 0 {
		d.publish("wide", leat.Message{})
	}
	if err := d.door.Close(); err != nil {
		t.Fatal(err)
	}
	got := <-pages
	d.wants(got, "closed", http.StatusServiceUnavailable, core.CodeDraining)
}

// TestResume: what retention took from a cursor is a gap.
func TestResume(t *testing.T) {
	info := &leat.TopicInfo{Name: "t", Partitions: []leat.PartitionInfo{
		{Partition: 0, Start: 10, HighWater: 20, End: 25}, {Partition: 1, Start: 0, HighWater: 5, End: 5}}}
	s := start{places: must(parsePlaces("0:4,1:5"))}
	at, gaps, err := s.resolve(info, -1)
	if err != nil || at.String() != "0:10,1:5" || !reflect.DeepEqual(gaps, []Gap{{0, 4, 10}}) {
		t.Errorf("%v, %v, %v", at, gaps, err)
	}
	if s.places.String() != "0:4,1:5" {
		t.Errorf("the cursor has become %v", s.places)
	}
	s = start{places: must(parsePlaces("0:25,1:@7"))}
	if at, gaps, err := s.resolve(info, -1); err != nil || at.String() != "0:25,1:@7" || gaps != nil {
		t.Errorf("%v, %v, %v", at, gaps, err)
	}
}

func TestPlaces(t *testing.T) {
	p := must(parsePlaces("1:7,3:@5,16383:0"))
	p.passed(3, 9)
	p.passed(2, 9)
	if p.String() != "1:7,3:9,16383:0" || p.index(3).at.Value != 9 || p.index(2) != nil {
		t.Errorf("%v", p)
	}
	for _, text := range []string{"", "1", "1:", ":1", "1:1,", "1:1,1:2", "2:1,1:1", "+1:1", "01:1", "1:01",
		"1:-1",
		"16384:0", "1:@", "1:9223372036854775808", "1: 1", "1:1;2:1"} {
		if p, err := parsePlaces(text); err == nil {
			t.Errorf("parsePlaces(%q) = %v; want an error", text, p)
		}
	}
}

// FuzzParsePlaces: what is taken has one spelling.
func FuzzParsePlaces(f *testing.F) {
	for _, text := range []string{"0:1", "0:124,1:99", "3:@1577836800000000000", "0:0,0:0", "01:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parsePlaces(text); err == nil && p.String() != text {
			t.Errorf("parsePlaces(%q) = %v", text, p)
		}
		_, _ = parseStart(text) // it must survive it
	})
}
