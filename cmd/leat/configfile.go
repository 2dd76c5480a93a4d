package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/leatbus/leat/core"
)

// configBytesMax bounds a configuration file.
const configBytesMax = 1 << 20

// loadFile takes what the file at path sets.
func loadFile(c *serveConfig, from origins, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return configError("open configuration", err.Error(), "check the path given with --config")
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, configBytesMax+1))
	switch {
	case err != nil:
		return configError("read configuration "+path, err.Error(), "check the path given with --config")
	case len(data) > configBytesMax:
		return configError("read configuration "+path, "it is over 1 MiB", "check the path given with --config")
	}
	return parseConfig(c, from, path, data)
}

// entry is one value of a file.
type entry struct {
	key   string
	line  int
	value any
}

// parseConfig takes what a TOML text sets. Every error begins with name:line.
func parseConfig(c *serveConfig, from origins, name string, data []byte) error {
	var document map[string]any
	if err := toml.Unmarshal(data, &document); err != nil {
		return syntaxError(name, err)
	}
	lines := linesOf(data)
	entries := flatten(nil, "", document, lines)
	// In the order of the file, so that the first mistake is reported first.
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(a.line-b.line, strings.Compare(a.key, b.key))
	})
	peers := map[uint16]string{}
	for _, e := range entries {
		where := name + ":" + strconv.Itoa(e.line)
		if id, isPeer := strings.CutPrefix(e.key, "cluster.peers."); isPeer {
			address, ok := e.value.(string)
			if !ok {
				return wrongSetting(where, e.key, mismatch(e.value, kindText))
			}
			if err := addPeer(peers, unquoted(id), address); err != nil {
				return wrongSetting(where, "cluster.peers", err)
			}
			c.Cluster.Peers, from["cluster.peers"] = peers, cmp.Or(noDefault(from["cluster.peers"]), origin(where))
			continue
		}
		if err := take(c, where, e); err != nil {
			return err
		}
		from[e.key] = origin(where)
	}
	return nil
}

// noDefault keeps the line of the first peer.
func noDefault(o origin) origin {
	if o == originDefault {
		return ""
	}
	return o
}

func take(c *serveConfig, where string, e entry) error {
	s := settingOf(e.key)
	if s == nil {
		return unknownKey(where, e)
	}
	var text string
	switch value := e.value.(type) {
	case string:
		text = value
		if s.kind != kindText {
			return wrongSetting(where, e.key, mismatch(value, s.kind))
		}
	case int64:
		text = strconv.FormatInt(value, 10)
		if s.kind != kindNumber {
			return wrongSetting(where, e.key, mismatch(value, s.kind))
		}
	default:
		return wrongSetting(where, e.key, mismatch(value, s.kind))
	}
	if err := s.set(c, text); err != nil {
		return wrongSetting(where, e.key, err)
	}
	return nil
}

func mismatch(value any, want kind) error {
	found := map[bool]string{true: "a table", false: "a date, float or boolean"}
	_, isTable := value.(map[string]any)
	text := found[isTable]
	switch value := value.(type) {
	case string:
		text = "the string " + core.Quote(value)
	case int64:
		text = fmt.Sprintf("the integer %d", value)
	case bool:
		text = fmt.Sprintf("%v", value)
	case float64:
		text = fmt.Sprintf("the float %v", value)
	case []any:
		text = "an array"
	}
	if want == kindPeers {
		return fmt.Errorf("found %s, want a table of addresses by id, as in peers = { 1 = \"n1:4740\" }", text)
	}
	return fmt.Errorf("found %s, want %s", text, want)
}

func unknownKey(where string, e entry) error {
	var keys []string
	sections := map[string]bool{}
	for _, s := range settings {
		keys = append(keys, s.key)
		sections[s.section()] = true
	}
	section, _, isKey := strings.Cut(e.key, ".")
	if sections[section] && !isKey {
		return wrongSetting(where, e.key, mismatch(e.value, kind("a table, as in ["+section+"]")))
	}
	hint := "the sections are: " + strings.Join(slices.Sorted(maps.Keys(sections)), ", ")
	if near := nearest(e.key, keys); near != "" {
		hint = "did you mean " + near + "?"
	} else if sections[section] {
		var names []string
		for _, s := range settings {
			if s.section() == section {
				names = append(names, s.name())
			}
		}
		hint = "keys of [" + section + "] are: " + strings.Join(names, ", ")
	}
	return configError(where, e.key+": there is no such key", hint)
}

func syntaxError(name string, err error) error {
	var decode *toml.DecodeError
	if !errors.As(err, &decode) {
		return configError(name, err.Error(), "")
	}
	line, column := decode.Position()
	where := fmt.Sprintf("%s:%d:%d", name, line, column)
	return configError(where, strings.TrimPrefix(decode.Error(), "toml: "),
		"correct it there; text values stand in quotes")
}

// flatten lists the values of nested tables. Tables that are not known are listed themselves.
func flatten(entries []entry, prefix string, table map[string]any, lines map[string]int) []entry {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		key := dotted(prefix, name)
		inner, isTable := table[name].(map[string]any)
		if isTable && isSection(key) {
			entries = flatten(entries, key, inner, lines)
			continue
		}
		entries = append(entries, entry{key, lines[key], table[name]})
	}
	return entries
}

// isSection reports whether a key is one of a table that settings are in.
func isSection(key string) bool {
	return key == "cluster.peers" ||
		slices.ContainsFunc(settings, func(s setting) bool { return s.section() == key })
}

// dotted appends name to the key of a table; a name that TOML would have to quote is quoted.
func dotted(prefix, name string) string {
	bare := name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
	if !bare {
		name = strconv.Quote(name)
	}
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

func unquoted(name string) string {
	if text, err := strconv.Unquote(name); err == nil {
		return text
	}
	return name
}

// linesOf maps every key and table of a text, which must have been parsed without error, to its line.
func linesOf(data []byte) map[string]int {
	lines := map[string]int{}
	var parser unstable.Parser
	parser.Reset(data)
	table := ""
	for parser.NextExpression() {
		node := parser.Expression()
		switch node.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = markKeys(&parser, node, "", lines)
		case unstable.KeyValue:
			markValue(&parser, node, table, lines)
		}
	}
	return lines
}

func markValue(parser *unstable.Parser, node *unstable.Node, table string, lines map[string]int) {
	key := markKeys(parser, node, table, lines)
	if value := node.Value(); value.Kind == unstable.InlineTable {
		for children := value.Children(); children.Next(); {
			markValue(parser, children.Node(), key, lines)
		}
	}
}

// markKeys notes the line of each part of a key below table, and returns the whole.
func markKeys(parser *unstable.Parser, node *unstable.Node, table string, lines map[string]int) string {
	key := table
	for parts := node.Key(); parts.Next(); {
		key = dotted(key, string(parts.Node().Data))
		if lines[key] == 0 {
			lines[key] = parser.Shape(parts.Node().Raw).Start.Line
		}
	}
	return key
}
