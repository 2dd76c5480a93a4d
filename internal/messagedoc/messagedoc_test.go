package messagedoc

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

func decoded(t *testing.T, text []byte) Message {
	t.Helper()
	var doc Message
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return doc
}

// sameForms wants both ways to write a message to tell the same.
func sameForms(t *testing.T, m *leat.Message) {
	t.Helper()
	text, err := json.Marshal(Of(m))
	if err != nil {
		t.Fatal(err)
	}
	line := Append(nil, m)
	if got, want := decoded(t, line), decoded(t, text); !reflect.DeepEqual(got, want) {
		t.Errorf("Append = %s; want %s", line, text)
	}
	for _, c := range line {
		if c < ' ' {
			t.Errorf("Append = %q, which has a control character", line)
		}
	}
}

func TestForms(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 67, time.FixedZone("x", 3600))
	for _, m := range []leat.Message{
		{Topic: "t", Time: at},
		{Topic: "t", Partition: 3, Offset: 1 << 60, Time: at, Key: []byte{}, Value: []byte{}},
		{Topic: "t", Time: at, Key: []byte("a\"\\\n\r\t\x00\x1f\u2028é"), Value: []byte("<&>")},
		{Topic: "t", Time: at, Key: []byte{255}, Value: []byte{254, 0}},
		{Topic: "t", Time: at, TTL: 1500 * time.Millisecond, ID: "order-4711", Attempt: 3,
			Snapshot: true},
		{Topic: "t", Time: at, TTL: time.Microsecond, ID: "a\xff\""},
		{Topic: "t", Time: at, Headers: []leat.Header{{Key: "a", Value: []byte("1")}, {Key: "a\xff",
			Value: []byte{255}}, {Key: "", Value: []byte{}}, {Key: "none"}}},
	} {
		sameForms(t, &m)
	}
}

// TestText pins the bytes that scripts and clients see.
func TestText(t *testing.T) {
	m := leat.Message{Topic: "jobs", Partition: 2, Offset: 7, Time: time.Unix(0, 1767225600_000_000_005),
		Key: []byte("k"), Value: []byte{255}, Headers: []leat.Header{{Key: "h", Value: []byte("v")}},
		TTL: time.Minute, ID: "i", Attempt: 2, Snapshot: true}
	const want = `{"topic":"jobs","partition":2,"offset":7,"time":"2026-01-01T00:00:00.000000005Z","key":"k",` +
		`"value_base64":"/w==","headers":[{"key":"h","value":"v"}],"ttl_ms":60000,"id":"i","snapshot":true,"attempt":2}`
	if got := string(Append(nil, &m)); got != want {
		t.Errorf("Append = %s\nwant     %s", got, want)
	}
	text, err := json.Marshal(Of(&m))
	if err != nil || string(text) != want {
		t.Errorf("Of = %s, %v\nwant %s", text, err, want)
	}
}

func FuzzForms(f *testing.F) {
	f.Add([]byte("k"), []byte("v\xff"), "h", "id", int64(5))
	f.Fuzz(func(t *testing.T, key, value []byte, header, id string, n int64) {
		sameForms(t, &leat.Message{Topic: "t", Key: key, Value: value, ID: id, TTL: time.Duration(n),
			Offset: n, Attempt: int32(n), Headers: []leat.Header{{Key: header, Value: value}}})
	})
}

func TestAppendDoesNotAllocate(t *testing.T) {
	m := leat.Message{Topic: "t", Key: []byte("key"), Value: []byte("value"), ID: "id",
		Headers: []leat.Header{{Key: "h", Value: []byte("v")}}}
	dst := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { dst = Append(dst[:0], &m) }); n != 0 {
		t.Errorf("Append allocates %v times", n)
	}
}
