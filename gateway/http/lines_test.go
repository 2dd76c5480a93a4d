package httpdoor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// results reads the answer of an NDJSON body.
func results(t *testing.T, text string) []LineResult {
	t.Helper()
	var all []LineResult
	for line := range strings.Lines(text) {
		all = append(all, decode[LineResult](t, line))
	}
	return all
}

// TestLines: good lines are published, bad ones told, in order; one bad line spoils no other.
func TestLines(t *testing.T) {
	d := open(t, Config{})
	body := `{"key":"k","value":"one"}` + "\n\r\n" + `{"value":{"a":1},"partition":2}` + "\n" + `{"value":1` +
		"\n" +
		`{"value":null,"key":"k","headers":{"h":"x"}}` + "\n" + `{"value":"x","partition":3}` + "\n" +
		strings.Repeat(" ", 70<<10) + `{"value":"long line"}`
	for name, headers := range map[string][]string{
		"plain": {"Content-Type", "application/x-ndjson; charset=utf-8"},
		"gzip":  {"Content-Type", "application/jsonl", "Content-Encoding", "gzip"},
	} {
		var from io.Reader = strings.NewReader(body)
		if name == "gzip" {
			from = zipped(body)
		}
		got := d.call("POST", "/v1/topics/wide/messages?ack=page", from, headers...)
		if got.status != http.StatusOK || got.header.Get("Content-Type") != ndjson {
			t.Fatalf("%s: %d %s %s", name, got.status, got.header, got.body)
		}
		all := results(t, got.body)
		var numbers []int64
		for _, r := range all {
			numbers = append(numbers, r.Line)
		}
		if want := []int64{1, 3, 4, 5, 6, 7}; !reflect.DeepEqual(numbers, want) {
			t.Fatalf("%s: lines %v; want %v", name, numbers, want)
		}
		for i, code := range []core.Code{0, 0, core.CodeInvalidRequest, 0, core.CodePartitionUnknown, 0} {
			r := all[i]
			if bad := r.Error != nil; bad != (code != 0) || bad && r.Error.Code != code.String() ||
				bad == (r.Offset != nil && r.Partition != nil) {
				t.Errorf("%s: line %d: %+v; want code %v", name, r.Line, r, code)
			}
		}
		if *all[1].Partition != 2 || *all[0].Partition != *all[3].Partition || *all[0].Offset >= *all[3].Offset {
			t.Errorf("%s: %s", name, got.body)
		}
	}
	values := map[string]int{}
	for _, m := range d.published("wide", 8) {
		values[fmt.Sprintf("%s=%s %v", m.Key, m.Value, m.Headers)]++
	}
	want := map[string]int{"k=one []": 2, `={"a":1} []`: 2, "k= [{h [120]}]": 2, "=long line []": 2}
	if !reflect.DeepEqual(values, want) {
		t.Errorf("published %v; want %v", values, want)
	}
}

// TestLinesSummary: one document, whose status is that of the first failure.
func TestLinesSummary(t *testing.T) {
	d := open(t, Config{})
	post := func(body string) (int, Summary) {
		got := d.call("POST", "/v1/topics/t/messages?receipts=summary", strings.NewReader(body), "Content-Type",
			ndjson)
		return got.status, decode[Summary](t, got.body)
	}
	status, s := post(strings.Repeat(`{"value":"x"}`+"\n", linesAhead+10))
	if status != http.StatusOK || s.Published != linesAhead+10 || s.Failed != 0 || s.Errors != nil {
		t.Errorf("%d %+v", status, s)
	}
	status, s = post(`{"value":"x"}` + "\n" + strings.Repeat("{}\n", 150))
	if status != http.StatusBadRequest || s.Published != 1 || s.Failed != 150 || len(s.Errors) != errorsShown ||
		s.Errors[0].Line != 2 {
		t.Errorf("%d %+v", status, s)
	}
	if status, s = post(""); status != http.StatusOK || s.Published != 0 {
		t.Errorf("nothing: %d %+v", status, s)
	}
}

// conversation is an NDJSON request whose body is written line by line while its answer is read.
type conversation struct {
	t      *testing.T
	body   *io.PipeWriter
	answer *bufio.Reader
	close  func() error
}

func (d *desk) converse() *conversation {
	d.t.Helper()
	from, body := io.Pipe()
	request, err := http.NewRequestWithContext(d.t.Context(), "POST", d.url+"/v1/topics/t/messages", from)
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Content-Type", ndjson)
	type opened struct {
		response *http.Response
		err      error
	}
	done := make(chan opened, 1)
	go func() {
		response, err := http.DefaultClient.Do(request)
		done <- opened{response, err}
	}()
	_, _ = io.WriteString(body, `{"value":"first"}`+"\n") // the answer tells
	o := <-done
	if o.err != nil {
		d.t.Fatal(o.err)
	}
	return &conversation{d.t, body, bufio.NewReader(o.response.Body), o.response.Body.Close}
}

func (c *conversation) hear() LineResult {
	c.t.Helper()
	text, err := c.answer.ReadString('\n')
	if err != nil {
		c.t.Fatalf("%q, %v", text, err)
	}
	return decode[LineResult](c.t, text)
}

// TestLinesAreAnsweredAtOnce: each line before the next is sent, on a connection that serves on afterwards.
func TestLinesAreAnsweredAtOnce(t *testing.T) {
	d := open(t, Config{})
	for range 2 {
		c := d.converse()
		first := c.hear()
		for i := range int64(3) {
			_, _ = io.WriteString(c.body, `{"value":"x"}`+"\n") // the answer tells
			if r := c.hear(); r.Line != i+2 || *r.Offset != *first.Offset+i+1 {
				t.Errorf("%+v", r)
			}
		}
		_ = c.body.Close() // always nil
		if rest, err := io.ReadAll(c.answer); err != nil || len(rest) > 0 {
			t.Errorf("at the end %q, %v", rest, err)
		}
		_ = c.close() // it was read to its end
	}
}

// TestLinesWhileTheDoorCloses: what was read is answered, and that no more is read is told.
func TestLinesWhileTheDoorCloses(t *testing.T) {
	d := open(t, Config{})
	c := d.converse()
	c.hear()
	closed := make(chan error)
	go func() { closed <- d.door.Close() }()
	if r := c.hear(); r.Error == nil || r.Error.Code != core.CodeDraining.String() || r.Line != 2 {
		t.Errorf("%+v; want DRAINING", r)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	_ = c.body.Close() // nobody reads it
	if d.door.streams.Load() != 0 {
		t.Error("a stream is left")
	}
}

// TestLinesOfAClientThatGoes: its stream ends.
func TestLinesOfAClientThatGoes(t *testing.T) {
	d := open(t, Config{})
	c := d.converse()
	c.hear()
	_ = c.body.CloseWithError(errors.New("gone")) // which resets the connection
	_ = c.close()
	if err := d.door.Close(); err != nil || d.door.streams.Load() != 0 {
		t.Errorf("%v, %d streams", err, d.door.streams.Load())
	}
}

// TestLongLine: the stream ends there, as nothing says where the next line begins.
func TestLongLine(t *testing.T) {
	d := open(t, Config{})
	body := `{"value":"x"}` + "\n" + strings.Repeat("x", lineBytes+1) + "\n" + `{"value":"x"}` + "\n"
	got := d.call("POST", "/v1/topics/t/messages", strings.NewReader(body), "Content-Type", ndjson)
	all := results(t, got.body)
	if len(all) != 2 || all[0].Error != nil || all[1].Error == nil ||
		all[1].Error.Code != core.CodeRecordTooLarge.String() || all[1].Line != 2 {
		t.Errorf("%s", got.body)
	}
}

// TestReaderWaits: a reader that is far ahead of the answers goes on when one is told, and ends with its
// context.
func TestReaderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lines{ctx: t.Context(), slots: make([]slot, linesAhead), wake: make(chan struct{}, 1),
			room: make(chan struct{}, 1)}
		for i := range int64(linesAhead) {
			l.claim(i)
		}
		claimed := 0
		go func() {
			for l.claim(linesAhead) != nil {
				claimed++
			}
		}()
		synctest.Wait()
		if claimed != 0 {
			t.Fatal("it does not wait")
		}
		l.slots[1].answer(leat.Receipt{}, nil)
		l.each(func(*slot) { t.Error("told out of order") })
		l.slots[0].answer(leat.Receipt{}, nil)
		told := 0
		if more := l.each(func(*slot) { told++ }); !more || told != 2 {
			t.Errorf("told %d, more %v; want 2 and more", told, more)
		}
		synctest.Wait()
		if claimed != 2 {
			t.Errorf("claimed %d; want 2", claimed)
		}
	})
}

func TestParseLine(t *testing.T) {
	long := strings.Repeat("x", 3000)
	for text, want := range map[string]line{
		`{"value":"v"}`:                   {message: leat.Message{Value: []byte("v")}},
		` { "value" : "" , "key" : "" } `: {message: leat.Message{Key: []byte{}, Value: []byte{}}},
		`{"value":null,"key":null}`:       {},
		`{"value":"a\"\u00e9\n","key":"\\"}`: {message: leat.Message{Key: []byte(`\`),
			Value: []byte("a\"é\n")}},
		`{"value":{"a":["}",1]},"partition":7}`: {leat.Message{Value: []byte(`{"a":["}",1]}`), Partition: 7},
			true},
		`{"value":-1.5e3}`: {message: leat.Message{Value: []byte("-1.5e3")}},
		`{"value":[ ]}`:    {message: leat.Message{Value: []byte("[ ]")}},
		`{"value":true}`:   {message: leat.Message{Value: []byte("true")}},
		`{"value_base64":"AP8=","key_base64":""}`: {message: leat.Message{Key: []byte{}, Value: []byte{0, 255}}},
		`{"value":"` + long + `"}`:                {message: leat.Message{Value: []byte(long)}},
		`{"value":"","headers":{"a":"1","a":"2"}}`: {message: leat.Message{Value: []byte{},
			Headers: []leat.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}}}},
		`{"value":"","headers":[{"key":"a","value":"1"},{"key":"b","value_base64":"/w=="},{"key":"c"}]}`: {
			message: leat.Message{Value: []byte{}, Headers: []leat.Header{{Key: "a", Value: []byte("1")},
				{Key: "b", Value: []byte{255}}, {Key: "c", Value: []byte{}}}}},
	} {
		got, err := parseLine([]byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parseLine(%.80s) = %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, part := range map[string]string{
		``:                                 "want {",
		`"x"`:                              "want {",
		`{`:                                "want a value",
		`{"value":"x"`:                     "want , or }",
		`{"value":"x"}}`:                   "want the end",
		`{"value":"x" "key":"y"}`:          "want , or }",
		`{"value":"x`:                      `want "`,
		`{"value":[1`:                      "the end of what begins at byte 9",
		`{"value":["1`:                     "the end of what begins at byte 9",
		`{"value":,}`:                      "want a value",
		`{"value":`:                        "want a value",
		`{"value" 1}`:                      "want :",
		`{value:1}`:                        "want a string",
		`{"value":nul}`:                    "is not JSON",
		`{"value":{"a"}}`:                  "is not JSON",
		`{"key":"k"}`:                      "value is missing",
		`{"value":"","value":""}`:          "twice",
		`{"value":"","value_base64":""}`:   "one of them",
		`{"value":"","topic":"t"}`:         `no field "topic"`,
		`{"value":"","key":5}`:             "key: \"5\": want a string",
		`{"value":"","partition":"5"}`:     "want a number",
		`{"value":"","partition":5.0}`:     "want a number",
		`{"value":"\x"}`:                   "no string of JSON",
		"{\"value\":\"\x01\"}":             "want it escaped",
		"{\"value\":\"\xff\"}":             "not UTF-8",
		"{\"value\":[\"\xff\"]}":           "not UTF-8",
		`{"value_base64":"A"}`:             "not base64",
		`{"value_base64":5}`:               "want a string",
		`{"value":"","headers":5}`:         "headers",
		`{"value":"","headers":{"a":1}}`:   "headers",
		`{"value":"","headers":[{"x":1}]}`: "headers",
		`{"value":"","headers":[{"key":"a","value":"","value_base64":""}]}`: "one of them",
		`{"value":"","headers":[{"key":"a","value_base64":"A"}]}`:           "not base64",
	} {
		got, err := parseLine([]byte(text))
		if !errors.Is(err, leat.ErrInvalidRequest) || !strings.Contains(err.Error(), part) {
			t.Errorf("parseLine(%s) = %+v, %v; want an error with %q", text, got, err, part)
		}
	}
}

// FuzzParseLine: what is taken is JSON, and encoding/json reads the same from it.
func FuzzParseLine(f *testing.F) {
	for _, text := range []string{`{"value":"v","key":"k"}`, `{"value":{"a":[1,"]"]},"partition":1}`,
		`{"value":null}`,
		`{"value":"\u0061\\","headers":{"a":"b"}}`, `{"value_base64":"AA==","headers":[{"key":"a"}]}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseLine([]byte(text))
		if err != nil {
			if !errors.Is(err, leat.ErrInvalidRequest) {
				t.Fatalf("parseLine(%q): %v", text, err)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("parseLine takes %q, which is no JSON: %v", text, err)
		}
		raw := want["value"]
		if len(raw) == 0 || raw[0] != '"' {
			return
		}
		var value string
		if err := json.Unmarshal(raw, &value); err != nil || value != string(got.message.Value) {
			t.Errorf("parseLine(%q) has value %q; want %q, %v", text, got.message.Value, value, err)
		}
		if !utf8.Valid(got.message.Value) {
			t.Errorf("parseLine(%q) has value %q", text, got.message.Value)
		}
	})
}
