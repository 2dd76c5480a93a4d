package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"
)

// printError writes the two lines every failure ends with; without hint it is one.
func printError(w io.Writer, err error, hint string) {
	fmt.Fprintf(w, "error: %s\n", printable(err.Error()))
	if hint != "" {
		fmt.Fprintf(w, "hint: %s\n", printable(hint))
	}
}

// printable escapes everything a terminal might obey, so that text from outside stays text.
func printable(text string) string {
	if !strings.ContainsFunc(text, isControl) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !isControl(r):
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func isControl(r rune) bool {
	return unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r)
}

// writeJSON writes one indented document.
func writeJSON(w io.Writer, document any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}

// writeYAML writes one document with the keys that writeJSON gives it, in the same order.
func writeYAML(w io.Writer, document any) error {
	text, err := yaml.Marshal(document)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// write writes a result in the format that was asked for; table writes it for people.
func (a *app) write(document any, table func() error) error {
	switch a.output {
	case formatJSON:
		return writeJSON(a.stdout, document)
	case formatYAML:
		return writeYAML(a.stdout, document)
	}
	return table()
}
