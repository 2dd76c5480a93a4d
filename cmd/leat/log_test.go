package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// newLogDesk has a bus on the folder data of an empty working directory, with the topic trades.
func newLogDesk(t *testing.T) *desk {
	t.Helper()
	needNode(t)
	d := &desk{t: t, quakes: quakes(t)}
	t.Chdir(t.TempDir())
	bus, err := node.Open(t.Context(), "data")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bus.Close() })
	d.bus = bus
	d.create("trades", leat.TopicConfig{})
	return d
}

// segmentOf gives the path of the only segment of a log, and its bytes.
func segmentOf(t *testing.T, dir string) (path string, content []byte) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("segments of %s: %v, %v; want one", dir, paths, err)
	}
	if content, err = os.ReadFile(paths[0]); err != nil {
		t.Fatal(err)
	}
	return paths[0], content
}

func patch(t *testing.T, path string, at int64, bytes ...byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// masked replaces what differs from run to run.
func masked(text string) string {
	text = regexp.MustCompile(`-[0-9a-f]{16}\.seg`).ReplaceAllString(times(text), "-<id>.seg")
	text = regexp.MustCompile(`checksum [0-9a-f]{8}, computed [0-9a-f]{8}`).ReplaceAllString(text,
		"checksum <crc>, computed <crc>")
	text = regexp.MustCompile(`(__meta .*  )\d+ B`).ReplaceAllString(text, "$1<n>") // as the catalogue has it
	text = regexp.MustCompile(`"bytes": \d+`).ReplaceAllString(text, `"bytes": <n>`)
	return regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`).ReplaceAllString(text, "<time>")
}

// TestLogPageRuns runs what docs/log-tools.md shows, in its order. Before some of its sections something
// happens to the folder.
func TestLogPageRuns(t *testing.T) {
	text, err := os.ReadFile("../../docs/log-tools.md")
	if err != nil {
		t.Fatal(err)
	}
	d := newLogDesk(t) // changes the working directory
	happens := map[string]func(){
		"After a crash": func() {
			if err := d.bus.Close(); err != nil {
				t.Fatal(err)
			}
			path, _ := segmentOf(t, "data/t/16/0")
			patch(t, path, 4096+96+112+96, 19, 0, 0, 0, 1, 1)
		},
		"A damaged file": func() {
			path, content := segmentOf(t, "data/t/16/0")
			patch(t, path, 4096+96+112+96, 0, 0, 0, 0, 0, 0)
			at := int64(4096 + 96 + 64 + 24 + 4)
			patch(t, path, at, content[at]^1)
		},
	}
	ran := 0
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		heading, rest, _ := strings.Cut(section, "\n")
		if f := happens[heading]; f != nil {
			f()
			delete(happens, heading)
		}
		for _, block := range strings.Split(rest, "```console\n")[1:] {
			script, _, _ := strings.Cut(block, "```")
			d.goldenAs(script, masked)
			ran++
		}
	}
	if ran < 7 || len(happens) > 0 {
		t.Fatalf("%d blocks, not reached: %d", ran, len(happens))
	}
}

func TestLogErrors(t *testing.T) {
	d := newLogDesk(t)
	d.must("pub trades 108 -k ACME")
	if err := os.MkdirAll("empty", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("file.txt", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		line string
		code int
		want string // on standard error
	}{
		{"log verify", exitUsage, "want DIR"},
		{"log verify a b", exitUsage, "want DIR"},
		{"log verify empty", exitUsage, "it is no data folder"},
		{"log verify file.txt", exitUsage, "a segment file has a name like"},
		{"log verify absent", exitAbsent, `there is no "absent"`},
		{"log stats absent", exitAbsent, `there is no "absent"`},
		{"log dump data --from -1", exitUsage, "want 0 or more"},
		{"log dump data --topic trade", exitAbsent, "there is no log of topic"},
		{"log dump data --partition 9", exitAbsent, "no log of such a partition"},
		{"log dump data --partition x", exitUsage, "see: leat log dump --help"},
		{"log stats data --topic 17", exitAbsent, "there is no log of topic"},
		{"log repair data", exitFailed, "LEAT-3004"}, // the bus of the desk has it open
		{"log repair data --yes", exitFailed, "LEAT-3004"},
		{"log repair data --yes --dry-run", exitUsage, "exclude each other"},
		{"log repair absent", exitAbsent, `there is no "absent"`},
		{"log veryfy data", exitUsage, `did you mean "verify"?`},
	}
	for _, tt := range tests {
		got := d.run(tt.line)
		if got.code != tt.code || !strings.Contains(got.stderr, tt.want) ||
			!strings.Contains(got.stderr, "hint: ") {
			t.Errorf("leat %s = %+v; want exit code %d, a hint and %q", tt.line, got, tt.code, tt.want)
		}
	}
}

// TestLogOfPlaces: a folder, a topic, a partition, a segment file, and a copy outside of a data folder.
func TestLogOfPlaces(t *testing.T) {
	d := newLogDesk(t)
	d.must("pub trades 108 -k ACME")
	d.must(`pub trades - -k ` + "x < earthquakes.tsv")
	copyLive(t, "copy/16/0", "data/t/16/0")
	segments, err := filepath.Glob("data/t/16/0/*.seg")
	if err != nil || len(segments) < 2 {
		t.Fatalf("segments %v, %v; want several", segments, err)
	}
	want := ""
	for _, place := range []string{"data", "data/t/16", "data/t/16/0", "copy/16/0", "copy/16"} {
		name := "trades"
		if strings.HasPrefix(place, "copy") {
			name = "16"
		}
		log := verified(t, d, place)
		if log.Topic != name || log.State != "clean" || log.Records < 1000 || log.End != log.Records {
			t.Errorf("log verify %s = %+v; want all records of %s, clean", place, log, name)
		}
		dump := strings.ReplaceAll("\n"+d.must("log dump "+place+" --topic 16"), "\n16 ", "\ntrades ")
		if want == "" {
			want = dump
		}
		if dump != want || strings.Count(dump, "\n") != int(log.Records)+1 {
			t.Errorf("log dump %s gives %d lines; want %d", place, strings.Count(dump, "\n"), log.Records+1)
		}
	}
	first, second := verified(t, d, segments[0]), verified(t, d, segments[1])
	if first.Segments != 1 || second.Segments != 1 || first.State != "clean" || second.State != "clean" ||
		first.Start != 0 || first.End != second.Start || second.Topic != "trades" {
		t.Errorf("the segments alone are %+v and %+v; want two that follow each other", first, second)
	}
}

// verified gives what leat log verify tells of the last log of a place.
func verified(t *testing.T, d *desk, place string) logReportDoc {
	t.Helper()
	var doc verifyDoc
	if err := json.Unmarshal([]byte(d.must("log verify "+place+" -o json")), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Logs[len(doc.Logs)-1]
}

// TestLogDumpFormats: every format of records and frames, tombstones and headers.
func TestLogDumpFormats(t *testing.T) {
	d := newLogDesk(t)
	d.must("pub trades v\x1b[1m -k k -H a:b")
	p, err := d.bus.Producer("trades")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), leat.Message{Key: []byte{0xff}}); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string][]string{
		"log dump data --topic trades": {`k v\x1b[1m a:b`, "trades 0 1 ", ` \ufffd -`},
		"log dump data --topic trades -o json": {
			`"key":"k","value":"v\u001b[1m","headers":[{"key":"a","value":"b"}]}`,
			`"key_base64":"/w=="}`},
		"log dump data --topic trades -o yaml":          {"---\ntopic: trades\n", "offset: 1\n"},
		"log dump data --topic trades --frames -o json": {`"index":2,"offset":1,"records":1`, `"type":"data"`},
		"log dump data --topic trades --frames -o yaml": {"---\n", "index: 2\n"},
		"log stats data --topic trades -o yaml":         {"tombstones: 1\n", "keys: 2\n", "keys_exact: true\n"},
	} {
		got := d.must(line)
		for _, text := range want {
			if !strings.Contains(got, text) {
				t.Errorf("leat %s lacks %q:\n%s", line, text, got)
			}
		}
	}
}
