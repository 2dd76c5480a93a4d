package main

import (
	"testing"
	"time"

	"github.com/leatbus/leat"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "65536": 65536, "64KiB": 65536, "10MiB": 10 << 20, "1GiB": 1 << 30, "2 TiB": 2 << 40,
		"7B": 7,
	} {
		var s size
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("%q = %d, %v; want %d", text, s, err, want)
			continue
		}
		var again size
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%q is spelled %q, which reads as %d, %v", text, s.String(), again, err)
		}
	}
	for _, text := range []string{
		"", "KiB", "-1", "1.5GiB", "1KB", "1kib", "x", "9223372036854775807KiB", "5000000TiB",
	} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q = %d; want an error", text, s)
		}
	}
}

func TestHuman(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 1 << 30: "1.0 GiB", -5: "-5 B",
	} {
		if got := humanBytes(n); got != want {
			t.Errorf("humanBytes(%d) = %q; want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -999: "-999",
	} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q; want %q", n, got, want)
		}
	}
}

func TestParsePosition(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	at := func(text string) leat.Position {
		v, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return leat.AtTime(v)
	}
	for text, want := range map[string]leat.Position{
		"earliest":                        leat.Earliest,
		"latest":                          leat.Latest,
		"0":                               leat.AtOffset(0),
		"17":                              leat.AtOffset(17),
		"-15m":                            at("2026-11-25T11:45:00Z"),
		"@2026-01-31":                     at("2026-01-31T00:00:00Z"),
		"@2026-01-31T10:20":               at("2026-01-31T10:20:00Z"),
		"@2026-01-31T10:20:30+01:00":      at("2026-01-31T09:20:30Z"),
		"@2026-01-31T10:20:30.123456789Z": at("2026-01-31T10:20:30.123456789Z"),
		"@1517363399":                     leat.AtTime(time.Unix(1517363399, 0)),
	} {
		if got, err := parsePosition(text, now.UnixNano()); err != nil || got != want {
			t.Errorf("%q = %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "first", "-", "-5", "--5m", "@", "@yesterday", "1.5", "99999999999999999999", "@1900-01-01",
		"@9999-01-01", "@99999999999999", "@-1",
	} {
		if got, err := parsePosition(text, 0); err == nil {
			t.Errorf("%q = %+v; want an error", text, got)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"trades", "trades", 0}, {"trade", "trades", 1},
		{"trdaes", "trades", 2}, {"kitten", "sitting", 3},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d; want %d", tt.a, tt.b, got, tt.want)
		}
	}
	names := []string{"a", "trade", "trades", "trados"}
	for name, want := range map[string]string{
		"tradis": `"trades" or "trados"`, "trad": `"trade"`, "x": "", "orders": "", "xx": "",
	} {
		if got := nearest(name, names); got != want {
			t.Errorf("nearest(%q) = %s; want %s", name, got, want)
		}
	}
}
