package push

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

func testKeys(t *testing.T) []secret {
	t.Helper()
	var keys []secret
	for _, until := range []int64{0, 50, 150} {
		s, err := makeSecret("")
		if err != nil {
			t.Fatal(err)
		}
		s.until = until * int64(time.Second)
		keys = append(keys, s)
	}
	return keys
}

// TestRequest: what of a message is where in a POST.
func TestRequest(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 5, time.UTC)
	h := func(pairs ...string) (list []leat.Header) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, leat.Header{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		return list
	}
	ours := []string{"Ce-Specversion: 1.0", "Ce-Source: /v1/topics/orders", "Ce-Type: leat.message",
		"Ce-Time: 2026-11-26T12:00:00.000000005Z"}
	place := []string{"Leat-Topic: orders", "Leat-Partition: 3", "Leat-Offset: 7", "Leat-Attempt: 2",
		"User-Agent: Leat", "Webhook-Timestamp: 100"}
	for name, tt := range map[string]struct {
		message leat.Message
		want    []string
	}{
		"nothing": {leat.Message{Value: []byte{}}, ours},
		"a tombstone": {leat.Message{Key: []byte("k")},
			append(ours, "Leat-Tombstone: true", "Leat-Key: k", "Ce-Partitionkey: k")},
		"a key of bytes": {leat.Message{Key: []byte{0xff, 0}, Value: []byte("v")},
			append(ours, "Leat-Key-Base64: /wA=")},
		"a key with a space": {leat.Message{Key: []byte(" k"), Value: []byte("v")},
			append(ours, "Leat-Key-Base64: IGs=", "Ce-Partitionkey: %20k")},
		"a key of umlauts": {leat.Message{Key: []byte("ü"), Value: []byte("v")},
			append(ours, "Leat-Key-Base64: w7w=", "Ce-Partitionkey: %C3%BC")},
		"headers": {leat.Message{Value: []byte("v"), Headers: h("region", "eu", "region", "us", "raw", "\x00",
			"bad name", "x", "", "x", "content-type", "text/plain", "webhook-id", "mine", "ce_id", "5",
			"host", "evil")},
			append(ours, "Leat-H-Region: eu", "Leat-H-Region: us", "Leat-Hb-Raw: AA==", "Content-Type: text/plain",
				"Leat-H-Webhook-Id: mine", "Leat-H-Ce_id: 5", "Leat-H-Host: evil")},
		"an event": {leat.Message{Key: []byte("k"), Value: []byte("{}"), Headers: h("ce_specversion", "1.0",
			"ce_id", "5 5", "ce_source", "/a", "ce_type", "t", "content-type", "application/json", "ce_sub", "\"%é",
			"trace", "1")},
			[]string{"Ce-Specversion: 1.0", "Ce-Id: 5%205", "Ce-Source: /a", "Ce-Type: t", "Ce-Sub: %22%25%C3%A9",
				"Content-Type: application/json", "Leat-H-Trace: 1", "Leat-Key: k"}},
		"an event twice": {leat.Message{Value: []byte("{}"), Headers: h("ce_specversion", "1.0", "ce_id", "5",
			"ce_id", "6", "ce_source", "/a", "ce_type", "t")},
			append(ours, "Leat-H-Ce_specversion: 1.0", "Leat-H-Ce_id: 5", "Leat-H-Ce_id: 6",
				"Leat-H-Ce_source: /a", "Leat-H-Ce_type: t")},
	} {
		m := tt.message
		m.Topic, m.Partition, m.Offset, m.Attempt, m.Time = "orders", 3, 7, 2, at
		checkRequest(t, name, &m, slices.Concat(tt.want, place))
	}
}

// checkRequest looks at the POST of a message at second 100: these lines are its headers, besides id and
// signatures.
func checkRequest(t *testing.T, name string, m *leat.Message, want []string) {
	t.Helper()
	keys := testKeys(t)
	r, err := newRequest(t.Context(), "https://example.com/hook?a=b", keys, m, 100*int64(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || string(body) != string(m.Value) || r.Method != "POST" || r.Host != "example.com" {
		t.Errorf("%s: %s %s %q, %v", name, r.Method, r.Host, body, err)
	}
	var got []string
	for key, values := range r.Header {
		for _, value := range values {
			line := key + ": " + value
			if key != "Webhook-Id" && key != "Webhook-Signature" && line != "Ce-Id: "+r.Header.Get("Webhook-Id") {
				got = append(got, line)
			}
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i, valid := range []bool{true, false, true} {
		err := verify(keys[i].text, r.Header, body, time.Unix(100, 0))
		if (err == nil) != valid {
			t.Errorf("%s: secret %d: %v", name, i, err)
		}
	}
	if n := len(strings.Fields(r.Header.Get("Webhook-Signature"))); n != 2 {
		t.Errorf("%s: %d signatures; want 2", name, n)
	}
}

// TestMessageID: it is the same at each attempt, another for each message, and has no full stop.
func TestMessageID(t *testing.T) {
	at := time.Unix(1, 0)
	base := leat.Message{Topic: "a.b", Partition: 1, Offset: 2, Time: at}
	again := base
	again.Attempt, again.Value = 5, []byte("v")
	if messageID(&base) != messageID(&again) || strings.Contains(messageID(&base), ".") {
		t.Errorf("%s and %s", messageID(&base), messageID(&again))
	}
	named := leat.Message{Topic: "a.b", ID: "x", Offset: 9}
	moved := leat.Message{Topic: "a.b", ID: "x", Offset: 10, Time: at}
	if messageID(&named) != messageID(&moved) {
		t.Error("a message with an ID is called otherwise when it is published again")
	}
	seen := map[string]bool{messageID(&base): true, messageID(&named): true}
	for i, m := range []leat.Message{
		{Topic: "a.b", Partition: 12, Offset: 2, Time: at}, {Topic: "a.b", Partition: 1, Offset: 22, Time: at},
		{Topic: "a.c", Partition: 1, Offset: 2, Time: at},
		{Topic: "a.b", Partition: 1, Offset: 2, Time: time.Unix(2, 0)},
		{Topic: "a.b", ID: "y"}, {Topic: "a.c", ID: "x"},
	} {
		if id := messageID(&m); seen[id] {
			t.Errorf("message %d is called as another: %s", i, id)
		} else {
			seen[id] = true
		}
	}
}

// FuzzRequest: whatever a message has, the POST can be sent, and only headers of ours decide where.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("k"), "region", []byte("eu"))
	f.Add([]byte{0xff}, "ce_id", []byte("\r\nHost: evil"))
	f.Add([]byte(""), "host", []byte(" x "))
	f.Fuzz(func(t *testing.T, key []byte, name string, value []byte) {
		m := &leat.Message{Topic: "t", Key: key, Value: value, Headers: []leat.Header{{Key: name, Value: value},
			{Key: "ce_" + name, Value: value}}}
		r, err := newRequest(t.Context(), "http://127.0.0.1/", nil, m, 0)
		if err != nil {
			t.Fatal(err)
		}
		var sent strings.Builder
		if err := r.Write(&sent); err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(sent.String(), "\r\n\r\n")
		for line := range strings.SplitSeq(head, "\r\n") {
			at, _, _ := strings.Cut(line, ": ")
			switch lower := strings.ToLower(at); {
			case strings.HasPrefix(lower, "leat-"), strings.HasPrefix(lower, "ce-"),
				strings.HasPrefix(lower, "webhook-"),
				lower == "content-type", lower == "content-length", lower == "user-agent", line == "POST / HTTP/1.1",
				line == "Host: 127.0.0.1":
			default:
				t.Errorf("%q among the headers of %q, %q", line, name, value)
			}
		}
		if got := fmt.Sprint(r.Header[http.CanonicalHeaderKey("leat-topic")]); got != "[t]" {
			t.Error(got)
		}
	})
}
