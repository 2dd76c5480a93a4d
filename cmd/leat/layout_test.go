package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leatbus/leat"
)

var sample = leat.Message{
	Topic: "t", Partition: 3, Offset: 17, Attempt: 2, Key: []byte("k\x1b"), Value: []byte("v\n"),
	Time:    time.Date(2026, 1, 31, 12, 0, 0, 5, time.FixedZone("", 3600)),
	Headers: []leat.Header{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("\x07")}},
}

func TestLayout(t *testing.T) {
	for format, want := range map[string]string{
		"":                        "",
		"plain":                   "plain",
		"%a":                      "2",
		"%t %p %o %k %v %T %h %%": "t 3 17 k\x1b v\n 2026-01-31T11:00:00.000000005Z a:1,b:\x07 %",
		`\n\t\\`:                  "\n\t\\",
		"%%v":                     "%v",
		`\\n`:                     `\n`,
		"ü%pü":                    "ü3ü",
	} {
		l, err := parseLayout(format)
		if err != nil {
			t.Errorf("%q: %v", format, err)
			continue
		}
		if got := string(l.append(nil, &sample, false)); got != want {
			t.Errorf("%q = %q; want %q", format, got, want)
		}
	}
	l, err := parseLayout("%k%v%h")
	if got := string(l.append(nil, &sample, true)); err != nil || got != `k\x1bv\x0aa:1,b:\x07` {
		t.Errorf("escaped: %q, %v", got, err)
	}
	for format, want := range map[string]string{
		"%": "ends with", `abc\`: "ends with", "ab%x": `"%x" at byte 2`, `\q`: "at byte 0", "%V": `"%V"`, "%ü": "at byte 0",
	} {
		if _, err := parseLayout(format); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", format, err, want)
		}
	}
}

func TestLayoutAllocatesNothing(t *testing.T) {
	l, err := parseLayout(`%t %p %o %k\t%v\n`)
	if err != nil {
		t.Fatal(err)
	}
	m := leat.Message{Topic: "t", Key: []byte("key"), Value: []byte("value")}
	buf := make([]byte, 0, 100)
	for _, escape := range []bool{false, true} {
		if n := testing.AllocsPerRun(100, func() { l.append(buf, &m, escape) }); n > 0 {
			t.Errorf("%v allocations per message, escape %v", n, escape)
		}
	}
}

// FuzzFormat: a format that parses prints the same whatever it stands beside, and never a control
// character of the message when escaping.
func FuzzFormat(f *testing.F) {
	for _, format := range []string{"%t%p%o%k%v%T%h%%", `\n\t\\`, "%", `\`, "ü%vü", "%x"} {
		f.Add(format, []byte("v\x1b\xff"))
	}
	f.Fuzz(func(t *testing.T, format string, value []byte) {
		l, err := parseLayout(format)
		if err != nil {
			if !strings.Contains(err.Error(), "want %t") {
				t.Errorf("%q: %v does not say what is wanted", format, err)
			}
			return
		}
		m := leat.Message{Topic: "t", Key: value, Value: value, Headers: []leat.Header{{Key: "h", Value: value}}}
		text := string(l.append(nil, &m, false))
		doubled, err := parseLayout(format + format)
		if err != nil {
			t.Fatalf("%q parses, twice it does not: %v", format, err)
		}
		if got := string(doubled.append(nil, &m, false)); got != text+text {
			t.Errorf("%q printed %q; twice %q", format, text, got)
		}
		if strings.ContainsFunc(format, isControl) || !utf8.ValidString(format) {
			return
		}
		escaped := string(l.append(nil, &m, true))
		if i := strings.IndexFunc(strings.NewReplacer("\n", "", "\t", "").Replace(escaped), isControl); i >= 0 {
			t.Errorf("%q printed %q to a terminal", format, escaped)
		}
	})
}
