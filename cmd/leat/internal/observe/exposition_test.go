package observe

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// exposed is a page of metrics as a scraper reads it.
type exposed struct {
	kinds map[string]string // by family
	help  map[string]string
	names []string           // of families, in their order
	value map[string]float64 // by series, as written
}

var (
	nameForm   = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelForm  = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(, *|$)`)
	sampleForm = regexp.MustCompile(`^([^{ ]+)(?:\{(.*)\})? (\S+)$`)
)

// parse reads the text exposition format, and refuses what a scraper might not take.
func parse(text string) (*exposed, error) {
	e := &exposed{kinds: map[string]string{}, help: map[string]string{}, value: map[string]float64{}}
	if !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("the last line has no end")
	}
	current := ""
	closed := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		words := strings.SplitN(line, " ", 4)
		switch {
		case words[0] != "#":
			name, err := e.sample(line)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			family := e.familyOf(name)
			if closed[family] && family != current {
				return nil, fmt.Errorf("%s: its family has ended before", line)
			}
			closed[current], current = true, family
		case len(words) < 4 || words[3] == "" || !nameForm.MatchString(words[2]):
			return nil, fmt.Errorf("%s: want # HELP|TYPE name text", line)
		case closed[words[2]]:
			return nil, fmt.Errorf("%s: behind samples of its family", line)
		case words[1] == "HELP" && e.help[words[2]] == "":
			e.help[words[2]] = words[3]
		case words[1] == "TYPE" && e.kinds[words[2]] == "" && e.help[words[2]] != "":
			e.kinds[words[2]] = words[3]
			e.names = append(e.names, words[2])
		default:
			return nil, fmt.Errorf("%s: twice, or TYPE without HELP", line)
		}
	}
	return e, e.histograms()
}

// familyOf gives the family of a sample.
func (e *exposed) familyOf(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && e.kinds[base] == "histogram" {
			return base
		}
	}
	return name
}

func (e *exposed) sample(line string) (name string, err error) {
	parts := sampleForm.FindStringSubmatch(line)
	if parts == nil || !nameForm.MatchString(parts[1]) {
		return "", fmt.Errorf("no sample")
	}
	seen := map[string]bool{}
	for rest := parts[2]; rest != ""; {
		label := labelForm.FindStringSubmatch(rest)
		if label == nil || seen[label[1]] {
			return "", fmt.Errorf("bad labels at %s", rest)
		}
		if label[1] == "vmrange" {
			return "", fmt.Errorf("only one database reads vmrange")
		}
		seen[label[1]] = true
		rest = rest[len(label[0]):]
	}
	value, err := strconv.ParseFloat(parts[3], 64)
	series := line[:len(line)-len(parts[3])-1]
	if _, double := e.value[series]; double || err != nil {
		return "", fmt.Errorf("twice, or no number")
	}
	e.value[series] = value
	return parts[1], nil
}

// histograms checks that buckets of ours grow up to _count.
func (e *exposed) histograms() error {
	type bucket struct{ le, count float64 }
	buckets := map[string][]bucket{}
	for series, count := range e.value {
		name, labels, _ := strings.Cut(series, "{")
		base, ok := strings.CutSuffix(name, "_bucket")
		if !ok || e.kinds[base] != "histogram" {
			continue
		}
		at := strings.LastIndex(labels, `le="`)
		le, err := strconv.ParseFloat(strings.TrimSuffix(labels[at+4:], `"}`), 64)
		if err != nil {
			return fmt.Errorf("%s: %w", series, err)
		}
		key := base + "_count"
		if others := strings.TrimSuffix(labels[:at], ","); others != "" {
			key += "{" + others + "}"
		}
		buckets[key] = append(buckets[key], bucket{le, count})
	}
	for key, list := range buckets {
		slices.SortFunc(list, func(a, b bucket) int { return int(math.Copysign(1, a.le-b.le)) })
		last := list[len(list)-1]
		total, found := e.value[key]
		_, sum := e.value[strings.Replace(key, "_count", "_sum", 1)]
		if !slices.IsSortedFunc(list, func(a, b bucket) int { return int(a.count - b.count) }) ||
			!math.IsInf(last.le, 1) || last.count != total || !found || !sum {
			return fmt.Errorf("%s: buckets %v of %v", key, list, total)
		}
	}
	return nil
}
