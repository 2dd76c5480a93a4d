package filter

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
)

// record is an encoded record, decoded.
func record(t testing.TB, key, value []byte, x core.Extras, headers ...core.Header) *core.Record {
	t.Helper()
	size, err := core.ExtendedRecordSize(len(key), len(value), headers, x)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, size)
	core.PutExtendedRecord(buf, key, value, headers, 0, 0, x)
	r, _, err := core.DecodeRecord(buf)
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

var example = []core.Header{
	{Key: "region", Value: []byte("eu-west")}, {Key: "n", Value: []byte("42")}, {Key: "x", Value: []byte("2.5")},
	{Key: "empty"}, {Key: "word", Value: []byte("seven")}, {Key: "region", Value: []byte("second")},
	{Key: "long", Value: []byte(strings.Repeat("a", maxMatched+1))}, {Key: "ü", Value: []byte(" Üb ")},
	{Key: "nan", Value: []byte("NaN")},
}

// exampleTime is when it was appended.
var exampleTime = time.Date(2026, 1, 31, 12, 0, 0, 5, time.UTC)

// TestMatch: the example has topic orders, partition 3, offset 1000, the key AAPL, a value of 6 bytes, and no
// header that is named none.
func TestMatch(t *testing.T) {
	r := record(t, []byte("AAPL"), []byte("187.44"), core.Extras{ID: "order-1"}, example...)
	tests := []struct {
		source string
		want   bool
	}{
		{`true`, true}, {`not true`, false}, {`!false`, true}, {`true and false or true`, true},
		{`header("region") == "eu-west"`, true}, {`header("region") == "second"`, false},
		{`headers["region"] == "eu-west"`, true}, {`headers.region == "eu-west"`, true},
		{`headers?.region == "eu-west"`, true}, {`"region" in headers`, true}, {`"none" in headers`, false},
		{`"none" not in headers`, true}, {`"empty" in headers`, true}, {`header("empty") == ""`, true},
		{`header("Region") == nil`, true}, {`headers["ü"] == " Üb "`, true},
		{`trim(header("ü")) == "Üb" and len(trim(header("ü"))) == 2`, true},
		{`lower(header("ü")) == " üb "`, true}, {`upper(key) == "AAPL" && lower(key) != key`, true},
		{`header("region") startsWith "eu"`, true}, {`header("region") endsWith "west"`, true},
		{`header("region") contains "-w"`, true}, {`not (header("region") contains "x")`, true},
		{`header("region") not contains "x"`, true}, {`header("region") matches "^eu-(west|east)$"`, true},
		{`header("region") matches "^u"`, false}, {`header("long") matches "a"`, false},
		{`header("region") in ["us", "eu-west"]`, true}, {`header("region") in ["us"]`, false},
		{`header("region") not in ["a","b","c","d","e","f","g","h","eu-west"]`, false},
		{`header("region") in ["a","b","c","d","e","f","g","h","i"]`, false}, {`key in []`, false},
		{`header("region") > "eu"`, true}, {`"a" < "b" and "b" >= "b"`, true},
		// What is not there.
		{`header("none") == nil`, true}, {`header("none") != nil`, false}, {`nil == nil`, true},
		{`header("none") == "x"`, false}, {`header("none") != "x"`, true}, {`header("none") == ""`, false},
		{`header("none") < "x"`, false}, {`header("none") >= "x"`, false}, {`not (header("none") < "x")`, true},
		{`header("none") == header("none2")`, true}, {`header("none") contains ""`, false},
		{`header("none") startsWith ""`, false}, {`header("none") matches ""`, false},
		{`header("none") in ["x"]`, false}, {`int(header("none")) == nil`, true},
		{`int(header("none")) < 5 or int(header("none")) >= 5`, false}, {`int(header("none")) + 1 == nil`, true},
		{`-int(header("none")) == nil`, true}, {`len(header("none")) == nil`, true},
		{`(header("none") ?? "x") == "x"`, true}, {`(header("region") ?? "x") == "eu-west"`, true},
		{`lower(header("none")) != "x"`, true}, {`int(header("none")) in 0..9`, false},
		// Numbers.
		{`int(header("n")) == 42`, true}, {`int(header("n")) == 42.0`, true}, {`float(header("n")) == 42`, true},
		{`int(header("word")) == nil`, true}, {`float(header("word")) > 0`, false}, {`int(header("x")) == nil`,
			true},
		{`float(header("x")) == 2.5`, true}, {`int(float(header("x"))) == 2`, true},
		{`float(header("nan")) == nil`, true}, {`float(header("long")) == nil`, true},
		{`int(header("n")) in [41, 42]`, true}, {`int(header("n")) in 40..42`, true},
		{`int(header("n")) in 43..50`, false}, {`int(header("n")) not in 1..9`, true},
		{`float(header("x")) in 2..3`, false}, {`partition % 2 == 1`, true}, {`partition % 0 == nil`, true},
		{`1 / 2 == 0.5`, true}, {`1 / 0 > 1000`, true}, {`0 / 0 == nil`, true}, {`2 + 3 * 4 - 1 == 13`, true},
		{`-partition == -3 and +partition == 3`, true}, {`offset >= 1_000`, true}, {`offset - 0x3e8 == 0`, true},
		{`1 < partition < 5`, true}, {`1.5 * 2 == 3`, true}, {`int(1e30) == nil`, true},
		// The record.
		{`topic == "orders" and partition == 3 and offset == 1000`, true}, {`key == "AAPL"`, true},
		{`key startsWith "AA"`, true}, {`key == nil`, false}, {`id == "order-1"`, true}, {`size == 10`, true},
		{`tombstone`, false}, {`tombstone == false`, true}, {`time == date("2026-01-31T12:00:00.000000005Z")`,
			true},
		{`time > date("2026-01-31") and time < date("2026-02-01")`, true}, {`time != date("2026-01-31 12:00:00")`,
			true},
		{`time >= date("2026-01-31T14:00:01+02:00")`, false}, {`time in [date("2026-01-31")]`, false},
		{`header("region") | upper() == "EU-WEST"`, true}, {`partition == 3 ? key == "AAPL" : false`, true},
		{`(partition == 4 ? key : topic) == "orders"`, true}, {`(tombstone ? key : nil) == nil`, true},
	}
	for _, tt := range tests {
		f, err := Compile(tt.source)
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		if got := f.Matcher("orders", 3).Match(r, 1000, exampleTime.UnixNano()); got != tt.want {
			t.Errorf("%s = %v, want %v", tt.source, got, tt.want)
		}
		if f.String() != tt.source {
			t.Errorf("String() = %s, want %s", f, tt.source)
		}
	}
}

// TestMatchBare asks about a record that has nothing.
func TestMatchBare(t *testing.T) {
	r := record(t, nil, nil, core.Extras{})
	for source, want := range map[string]bool{
		`key == nil and id == nil and tombstone and size == 0`: true, `key == ""`: false, `key != "a"`: true,
		`"a" in headers`: false, `lower(key) == nil`: true, `key < "z"`: false,
	} {
		f, err := Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Matcher("t", 0).Match(r, 0, 0); got != want {
			t.Errorf("%s = %v, want %v", source, got, want)
		}
	}
}

// TestRefused: what is wrong is found when the expression is compiled, and the error tells where.
func TestRefused(t *testing.T) {
	tests := []struct{ source, want string }{
		{``, "want an expression"}, {` `, "want an expression"}, {"\xff", "want an expression"},
		{`heder("a") == "b"`, `column 1, at "heder(`}, {`key == "a" and kay == "b"`, `column 16, at "kay`},
		{`"ü" == key and kay == "b"`, `column 16, at "kay`}, {`key ==`, "at the end"}, {`key == "a`, "at the end"},
		{`key`, "this gives a text: want true or false"}, {`partition + 1`, "this gives a number"},
		{`header("n") > 5`, `int(…) and float(…)`}, {`header("n") > 5`, `column 13, at "> 5"`},
		{`key == true`, "a text == true or false"}, {`key and true`, "and of a text"}, {`not key`, "not of a text"},
		{`nil < 1`, "nil < a number"}, {`tombstone > false`, "neither is the lesser"},
		{`time > "2026-01-31"`, "want a time"}, {`date("tomorrow") < time`, "date: want a time"},
		{`date(key) < time`, "date: want a time"}, {`headers == nil`, "headers are asked one by one"},
		{`header(key) == "a"`, "a text in quotes"}, {`headers[key] == "a"`, "a text in quotes"},
		{`header("a", "b") == "a"`, "one name"}, {`key in headers`, "a text in quotes"}, {`key.a == "b"`,
			"only headers"},
		{`key in topic`, "in: want headers, a list"}, {`key in [topic]`, "constants of one kind"},
		{`key in ["a", 1]`, "constants of one kind"}, {`key in 1..2`, "a range is for numbers"},
		{`partition in 1..offset`, "a range is for numbers"}, {`key matches topic`, "a text in quotes"},
		{`key matches "("`, "missing closing"}, {`key matches "(a{1000})"`, "instructions"},
		{`key matches "(?:` + strings.Repeat("a", 2000) + `){1000}"`, "far more than 512 instructions"},
		{`key matches "` + strings.Repeat("(", 900) + "a" + strings.Repeat(")", 900) + `{1000}"`, "far more"},
		{`partition matches "a"`, "want texts on both sides"}, {`key + "a" == "b"`, "want numbers"},
		{`1.5 % 2 == 1`, "whole ones"}, {`2 ** 3 == 8`, "no operator **"}, {`-key == "a"`, "want a number"},
		{`len(partition) == 1`, "len of a number"}, {`lower(key, key) == "a"`, "takes one value"},
		{`all(headers, {# == "a"})`, "no function"}, {`map(1..1000000000, {#}) == 1`, "no function"},
		{`let a = 1; a == 1`, "no part of a filter"}, {`[1, 2] == [1, 2]`, "no part of a filter"},
		{`{"a": 1} == nil`, "no part of a filter"}, {`key[0:1] == "a"`, "no part of a filter"},
		{`now() > time`, "no function"}, {`key.upper() == "A"`, "no such function"},
		{`(partition == 1 ? key : 5) == nil`, "want the same"}, {`(partition ? key : key) == nil`, "before the ?"},
		{`key ?? 5`, "want the same on both sides"}, {`repeat(key, 1000000) == "a"`, "no function"},
		{strings.Repeat(" ", MaxSource) + "true", "at most 4096"},
		{strings.Repeat("true and ", MaxNodes/2) + "true", "more than 256 parts"},
		{strings.Repeat("(", MaxSource), "at the end"}, {strings.Repeat("not ", 300) + "true",
			"more than 256 parts"},
	}
	for _, tt := range tests {
		f, err := Compile(tt.source)
		if f != nil || !errors.Is(err, core.ErrInvalidConfig) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Compile(%.60s) = %v, %v; want one about %s", tt.source, f, err, tt.want)
		}
	}
}

// TestMatchDoesNotAllocate, but for lower and upper.
func TestMatchDoesNotAllocate(t *testing.T) {
	r := record(t, []byte("AAPL"), []byte("187.44"), core.Extras{}, example...)
	f, err := Compile(`header("region") in ["a","b","c","d","e","f","g","h"] or float(header("x")) > 3 or ` +
		`header("region") matches "^us" or topic contains "zz" or int(header("n")) % 7 == 1 or key == "MSFT" or ` +
		`partition in 5..7 or time < date("2026-01-01") or partition in [5, 6]`)
	if err != nil {
		t.Fatal(err)
	}
	m := f.Matcher("orders", 3)
	if n := testing.AllocsPerRun(100, func() {
		if m.Match(r, 1000, exampleTime.UnixNano()) {
			t.Error("it matches")
		}
	}); n != 0 {
		t.Errorf("%v allocations a record, want none", n)
	}
}

// FuzzFilter: whatever is compiled, and whatever a record has, nothing panics, and the answer is the same
// again; what compiles compiles again from its String.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{`header("a") == "b" and int(headers.n) in 1..5 or key matches "^a+$"`,
		`not (time < date("2026-01-31")) ? size % 7 == 0 : topic not in ["a", "b"]`, `-1.5e3 / offset > nil ?? 4`,
		`all([1], # > 0)`, `((((`, `"\u00e4" in headers`, `id | lower() startsWith "x"`} {
		f.Add(seed, []byte("\x01\x00\x01\x00\x00\x00ab"), []byte("key"), int64(5))
	}
	f.Fuzz(func(t *testing.T, source string, headers, key []byte, n int64) {
		compiled, err := Compile(source)
		if err != nil {
			if compiled != nil || !errors.Is(err, core.ErrInvalidConfig) {
				t.Fatalf("Compile(%q) = %v, %v", source, compiled, err)
			}
			return
		}
		r := core.Record{Key: key, RawHeaders: headers, ID: key}
		m := compiled.Matcher(fmt.Sprint(n), int32(n))
		first := m.Match(&r, n, n)
		if m.Match(&r, n, n) != first {
			t.Errorf("%q gives one thing, and then another", source)
		}
		if _, err := Compile(compiled.String()); err != nil {
			t.Errorf("%q compiles once: %v", source, err)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	r := record(b, []byte("AAPL"), []byte("187.44"), core.Extras{}, example...)
	for _, source := range []string{`key == "MSFT"`, `header("n") == "41"`,
		`header("region") startsWith "us" and int(header("n")) > 41`, `header("region") matches "^us"`} {
		f, err := Compile(source)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(source, func(b *testing.B) {
			m := f.Matcher("orders", 3)
			b.ReportAllocs()
			for b.Loop() {
				if m.Match(r, 1000, 0) {
					b.Fatal("it matches")
				}
			}
		})
	}
}
