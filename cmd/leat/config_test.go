package main

import (
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
)

// full sets everything to something else than the default.
const full = `# a node of three
[node]
id = 2
data = "/srv/leat"

[listen]
quic = "[::1]:5000"
http = "off"
gateway = "127.0.0.1:4742"
gateway_tokens = "tokens"
gateway_secret = "secret"
tokens = "clients"
gateway_key = "key"

[tls]
cert = "n2.crt"
key = "n2.key"
client_ca = "ca.crt"

[cluster]
name = "prod"
advertise = "n2.example.com:5000"
peer_ca = "peers.crt"

[cluster.peers]
1 = "n1:4740"
2 = "n2:4740"
3 = "[2001:db8::3]:4740"

[log]
level = "debug"
scrub_every = "36h"
on_damage = "skip"

[limits]
connections = 7
streams = 1_000

[push]
allow = "10.0.0.0/8,fd00::/8"
allow_http = "on"
`

func fullConfig() serveConfig {
	return serveConfig{
		Node: nodeConfig{ID: 2, Data: "/srv/leat"},
		Listen: listenConfig{QUIC: "[::1]:5000", HTTP: "off", Gateway: "127.0.0.1:4742",
			GatewayTokens: "tokens", GatewaySecret: "secret", Tokens: "clients", GatewayKey: "key"},
		TLS: tlsConfig{Cert: "n2.crt", Key: "n2.key", ClientCA: "ca.crt"},
		Cluster: clusterConfig{Name: "prod", Advertise: "n2.example.com:5000", PeerCA: "peers.crt",
			Peers: map[uint16]string{1: "n1:4740", 2: "n2:4740", 3: "[2001:db8::3]:4740"}},
		Log:    logConfig{Level: slog.LevelDebug, ScrubEvery: 36 * time.Hour, OnDamage: "skip"},
		Limits: limitsConfig{Connections: 7, Streams: 1000},
		Push: pushConfig{AllowHTTP: true, Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"),
			netip.MustParsePrefix("fd00::/8")}},
	}
}

func defaultConfig() serveConfig {
	return serveConfig{
		Node:    nodeConfig{Data: "data"},
		Listen:  listenConfig{QUIC: "127.0.0.1:4740", HTTP: "127.0.0.1:4741", Gateway: "off"},
		Cluster: clusterConfig{Name: "leat", Peers: map[uint16]string{}},
		Log:     logConfig{ScrubEvery: 24 * time.Hour, OnDamage: "fail"},
		Limits:  limitsConfig{Connections: 10_000, Streams: 1024},
	}
}

// configFile writes a file named leat.toml and makes its folder the current one.
func configFile(t *testing.T, text string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("leat.toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "leat.toml"
}

func TestConfigDefaults(t *testing.T) {
	got, from, err := loadConfig("", nil, nil)
	if err != nil || !reflect.DeepEqual(got, defaultConfig()) {
		t.Errorf("loadConfig() = %+v, %v; want %+v", got, err, defaultConfig())
	}
	for _, s := range settings {
		if from[s.key] != originDefault {
			t.Errorf("origin of %s = %q; want default", s.key, from[s.key])
		}
	}
}

func TestConfigFromAFile(t *testing.T) {
	got, from, err := loadConfig(configFile(t, full), nil, nil)
	if err != nil || !reflect.DeepEqual(got, fullConfig()) {
		t.Fatalf("loadConfig(full) = %+v, %v; want %+v", got, err, fullConfig())
	}
	lines := strings.Split(full, "\n")
	for _, s := range settings {
		number, ok := strings.CutPrefix(string(from[s.key]), "leat.toml:")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			t.Errorf("origin of %s = %q; want a line of leat.toml", s.key, from[s.key])
			continue
		}
		want := s.name()
		if s.key == "cluster.peers" {
			want = "1"
		}
		if !strings.HasPrefix(lines[n-1], want+" = ") {
			t.Errorf("origin of %s = line %d, which is %q", s.key, n, lines[n-1])
		}
	}
	other := "listen.quic = \"[::1]:5000\"\ntls = { cert = \"a\", key = \"b\" }\nnode.id = 0x1\n" +
		"cluster.peers = { \"1\" = \"a:1\" }\n"
	got, from, err = loadConfig(configFile(t, other), nil, nil)
	if err != nil || got.TLS.Key != "b" || got.Node.ID != 1 || got.Cluster.Peers[1] != "a:1" ||
		from["tls.key"] != "leat.toml:2" || from["cluster.peers"] != "leat.toml:4" {
		t.Errorf("dotted keys and inline tables = %+v, %v, %v", got, from, err)
	}
}

// TestConfigPrecedence sets every setting in every layer, and takes the layers away from the top.
func TestConfigPrecedence(t *testing.T) {
	path := configFile(t, full)
	base := map[string]string{"node.id": "1", "cluster.peers": "1=a:1,2=b:1", "tls.cert": "c", "tls.key": "k",
		"listen.gateway": ":1"}
	layers := func(key, env, flag string) ([]string, map[string]string) {
		var variables []string
		flags := map[string]string{}
		for _, s := range settings {
			if value, ok := base[s.key]; ok && s.key != key {
				flags[s.flag] = value
			}
			if s.key == key && env != "" {
				variables = append(variables, s.variable()+"="+env)
			}
			if s.key == key && flag != "" {
				flags[s.flag] = flag
			}
		}
		return variables, flags
	}
	for key, values := range map[string][2]string{
		"node.data": {"e", "f"}, "listen.quic": {":1", ":2"}, "listen.http": {":1", ":2"},
		"listen.gateway": {":1", ":2"}, "listen.gateway_tokens": {"e", "f"}, "listen.gateway_secret": {"e", "f"},
		"listen.tokens": {"e", "f"}, "listen.gateway_key": {"e", "f"}, "tls.cert": {"e", "f"},
		"tls.key": {"e", "f"}, "tls.client_ca": {"e", "f"}, "cluster.name": {"e", "f"}, "node.id": {"1", "1"},
		"cluster.peers": {"1=e:1", "1=f:1"}, "cluster.advertise": {"e:1", "f:1"}, "cluster.peer_ca": {"e", "f"},
		"log.level": {"warn", "error"}, "log.scrub_every": {"off", "7d"}, "log.on_damage": {"fail", "skip"},
		"limits.connections": {"5", "6"}, "limits.streams": {"5", "6"}, "push.allow": {"::/0", "192.0.2.1/32"},
		"push.allow_http": {"off", "off"},
	} {
		s := settingOf(key)
		for _, tt := range []struct{ env, flag, want, from string }{
			{values[0], values[1], values[1], "--" + s.flag},
			{values[0], "", values[0], s.variable()},
			{"", "", "", "leat.toml:"},
		} {
			env, flags := layers(key, tt.env, tt.flag)
			got, from, err := loadConfig(path, env, flags)
			if err != nil || !strings.HasPrefix(string(from[key]), tt.from) {
				t.Errorf("%s from %v and %v: origin %q, %v; want %s", key, env, flags, from[key], err, tt.from)
				continue
			}
			want := fullConfig()
			if tt.want != "" {
				if err := s.set(&want, tt.want); err != nil {
					t.Fatal(err)
				}
			}
			if !reflect.DeepEqual(s.get(&got), s.get(&want)) {
				t.Errorf("%s from %v and %v = %v; want %v", key, env, flags, s.get(&got), s.get(&want))
			}
		}
	}
}

func TestConfigSettingsAreComplete(t *testing.T) {
	// Every field is set by a setting: full changes all of them.
	changed, same := reflect.ValueOf(fullConfig()), reflect.ValueOf(defaultConfig())
	fields := 0
	for i := range changed.NumField() {
		for j := range changed.Field(i).NumField() {
			fields++
			if reflect.DeepEqual(changed.Field(i).Field(j).Interface(), same.Field(i).Field(j).Interface()) {
				t.Errorf("%s.%s is not in the full example", changed.Type().Field(i).Name,
					changed.Field(i).Type().Field(j).Name)
			}
		}
	}
	if fields != len(settings) {
		t.Errorf("%d settings for %d fields", len(settings), fields)
	}
	seen := map[string]bool{}
	for _, s := range settings {
		if seen[s.key] || seen[s.flag] || seen[s.variable()] {
			t.Errorf("%s, %s or %s occurs twice", s.key, s.flag, s.variable())
		}
		seen[s.key], seen[s.flag], seen[s.variable()] = true, true, true
	}
	for _, pair := range [][2]string{{"listen.quic", "LEAT_LISTEN_QUIC"},
		{"tls.client_ca", "LEAT_TLS_CLIENT_CA"}} {
		if got := settingOf(pair[0]).variable(); got != pair[1] {
			t.Errorf("variable of %s = %s; want %s", pair[0], got, pair[1])
		}
	}
}

func TestConfigMistakesInFiles(t *testing.T) {
	tests := []struct {
		text  string
		parts []string // of error and hint
	}{
		{"[listen]\nquik = \"a:1\"", []string{"leat.toml:2:", "listen.quik", `did you mean "listen.quic"?`}},
		{"[listne]\nquic = \"a:1\"", []string{"leat.toml:1:", "listne", "the sections are: cluster, limits"}},
		{"\n\nspeed = 3", []string{"leat.toml:3:", "speed", "the sections are"}},
		{"[limits]\nmemory = 3",
			[]string{"leat.toml:2:", "limits.memory", "keys of [limits] are: connections, streams"}},
		{"[node.extra]\nx = 3", []string{"leat.toml:1:", "node.extra", "no such key"}},
		{"\"listen.quic\" = \"a:1\"", []string{"leat.toml:1:", `"listen.quic"`, "no such key"}},
		{"listen = 3", []string{"leat.toml:1:", "listen", "found the integer 3", "as in [listen]"}},
		{"[[listen]]\nquic = \"a:1\"", []string{"leat.toml:1:", "found an array", "as in [listen]"}},
		{"[listen]\nquic = 4740",
			[]string{"leat.toml:2:", "listen.quic", "found the integer 4740", "want a string"}},
		{"[node]\nid = \"1\"", []string{"leat.toml:2:", "node.id", `found the string "1"`, "want an integer"}},
		{"[node]\nid = 1.5", []string{"leat.toml:2:", "found the float 1.5", "want an integer"}},
		{"[node]\nid = true", []string{"leat.toml:2:", "found true", "want an integer"}},
		{"[node]\nid = 1979-05-27", []string{"leat.toml:2:", "a date", "want an integer"}},
		{"[node]\nid = 70000", []string{"leat.toml:2:", `"70000"`, "from 0 to 65535"}},
		{"[node]\nid = -1", []string{"leat.toml:2:", "from 0 to 65535"}},
		{"[node]\ndata = \"\"", []string{"leat.toml:2:", "found nothing", "path of a folder"}},
		{"[node]\ndata = \"a\\u0007\"", []string{"leat.toml:2:", "without control characters"}},
		{"[listen]\nquic = \"localhost\"", []string{"leat.toml:2:", `"localhost"`, "want host:port"}},
		{"[listen]\nquic = \"a b:1\"", []string{"leat.toml:2:", "want host:port"}},
		{"[listen]\nquic = \"a:65536\"", []string{"leat.toml:2:", "want host:port"}},
		{"[listen]\nhttp = \"of\"", []string{"leat.toml:2:", "want host:port", "or off"}},
		{"[cluster]\nname = \"a/b\"", []string{"leat.toml:2:", "cluster.name", "want 1 to 249"}},
		{"[cluster]\nadvertise = \"0.0.0.0:1\"", []string{"leat.toml:2:", "that others can dial"}},
		{"[cluster]\nadvertise = \"a:0\"", []string{"leat.toml:2:", "that others can dial"}},
		{"[cluster]\npeers = \"1=a:1\"", []string{"leat.toml:2:", "want a table of addresses"}},
		{"[cluster.peers]\n1 = \"a:1\"\n0 = \"b:1\"", []string{"leat.toml:3:", `the id "0"`, "from 1 to 65535"}},
		{"[cluster.peers]\n1 = \"a:1\"\n01 = \"b:1\"", []string{"leat.toml:3:", "node 1 twice"}},
		{"[cluster.peers]\nn1 = \"a:1\"", []string{"leat.toml:2:", `the id "n1"`}},
		{"[cluster.peers]\n1 = 4740", []string{"leat.toml:2:", "found the integer 4740", "want a string"}},
		{"[cluster.peers]\n1 = \":1\"", []string{"leat.toml:2:", "node 1", "that others can dial"}},
		{"[log]\nlevel = \"loud\"", []string{"leat.toml:2:", `"loud"`, "debug, info, warn or error"}},
		{"[log]\non_damage = \"ignore\"", []string{"leat.toml:2:", `"ignore"`, "want fail or skip"}},
		{"[log]\nscrub_every = \"1ms\"", []string{"leat.toml:2:", `"1ms"`, "1s or more", "or off"}},
		{"[push]\nallow = \"10.0.0.1\"", []string{"leat.toml:2:", `"10.0.0.1"`, "ranges of addresses"}},
		{"[push]\nallow = \"10.0.0.0/8,10.0.0.1/8\"", []string{"leat.toml:2:", `"10.0.0.1/8"`}},
		{"[push]\nallow = \"::ffff:10.0.0.0/104\"", []string{"leat.toml:2:", "ranges of addresses"}},
		{"[push]\nallow_http = \"yes\"", []string{"leat.toml:2:", `"yes"`, "want on or off"}},
		{"[push]\nallow = \"::/0\"", []string{"push.allow", "listen.gateway is off"}},
		{"[push]\nallow_http = \"on\"", []string{"push.allow_http", "listen.gateway is off"}},
		{"[limits]\nstreams = 0", []string{"leat.toml:2:", "limits.streams", "from 1 to 65535"}},
		{"[limits]\nconnections = 99999999999999999999", []string{"leat.toml:2:", "too large"}},
		{"[node]\nid = 1\nid = 2", []string{"leat.toml:3:", "already defined"}},
		{"[node]\n[node]", []string{"leat.toml:2:", "already exists"}},
		{"[node\n", []string{"leat.toml:1:", "correct it there"}},
		{"[node]\ndata = data", []string{"leat.toml:2:"}},
		{"\xff = 1", []string{"leat.toml:1:"}},
		// The first mistake of the file is the one that is told.
		{"[log]\nlevel = 1\n[listen]\nquic = 1", []string{"leat.toml:2:", "log.level"}},
		{strings.Repeat("#", configBytesMax+1), []string{"over 1 MiB"}},
	}
	for _, tt := range tests {
		_, _, err := loadConfig(configFile(t, tt.text), nil, nil)
		checkConfigError(t, tt.text[:min(len(tt.text), 60)], err, tt.parts...)
	}
	_, _, err := loadConfig("absent.toml", nil, nil)
	checkConfigError(t, "no file", err, "absent.toml", "--config")
	_, _, err = loadConfig(".", nil, nil)
	checkConfigError(t, "a folder", err, "--config")
}

func checkConfigError(t *testing.T, what string, err error, parts ...string) {
	t.Helper()
	if !errors.Is(err, core.ErrInvalidConfig) {
		t.Errorf("%q: %v; want ErrInvalidConfig", what, err)
		return
	}
	told := err.Error() + "\nhint: " + core.HintFor(err)
	for _, part := range parts {
		if !strings.Contains(told, part) {
			t.Errorf("%q: %s; want %q in it", what, told, part)
		}
	}
}

func TestConfigMistakesElsewhere(t *testing.T) {
	for env, parts := range map[string][]string{
		"LEAT_NODE_ID=x":               {"LEAT_NODE_ID", "node.id", "from 0 to 65535"},
		"LEAT_LISTEN_QIUC=a:1":         {"LEAT_LISTEN_QIUC", `did you mean "LEAT_LISTEN_QUIC"?`},
		"LEAT_CLUSTER_PEERS=1":         {"LEAT_CLUSTER_PEERS", "id=address"},
		"LEAT_CLUSTER_PEERS=1=a:1,":    {"LEAT_CLUSTER_PEERS", "id=address"},
		"LEAT_NODE_DATA=a\x1b[2J":      {"LEAT_NODE_DATA", "control characters"},
		"LEAT_TLS_CERT=\xff":           {"LEAT_TLS_CERT", "control characters"},
		"LEAT_CLUSTER_PEERS=1=a:1":     {"cluster.peers (from LEAT_CLUSTER_PEERS)", "node.id is missing"},
		"LEAT_TLS_CERT=a":              {"tls.cert (from LEAT_TLS_CERT)", "tls.key is missing"},
		"LEAT_TLS_KEY=a":               {"tls.key (from LEAT_TLS_KEY)", "tls.cert is missing"},
		"LEAT_TLS_CLIENT_CA=a":         {"tls.client_ca", "tls.cert and tls.key are missing"},
		"LEAT_CLUSTER_PEER_CA=a.crt":   {"cluster.peer_ca", "cluster.peers is missing"},
		"LEAT_LISTEN_GATEWAY_SECRET=s": {"listen.gateway_secret (from LEAT", "no HTTP door"},
		"LEAT_NODE_ID=1":               {"node.id (from LEAT_NODE_ID)", "cluster.peers is missing"},
	} {
		_, _, err := loadConfig("", []string{"PATH=x", env}, nil)
		checkConfigError(t, env, err, parts...)
	}
	for _, env := range []string{"LEAT_NODE_SERVICE_HOST=10.0.0.1",
		"LEAT_PORT=tcp://10.0.0.1:4740", "LEAT_SERVER=a:1",
		"LEAT_TLS_CA=x", "LEAT_NODE_ID=", "LEAT", "NODE_ID=x", ""} {
		got, _, err := loadConfig("", []string{env}, nil)
		if err != nil || !reflect.DeepEqual(got, defaultConfig()) {
			t.Errorf("%q changed the configuration: %+v, %v", env, got, err)
		}
	}
	_, _, err := loadConfig("", nil, map[string]string{"listen": "nowhere", "config": "x"})
	checkConfigError(t, "--listen", err, "--listen", "listen.quic", `"nowhere"`)
	_, _, err = loadConfig("", nil, map[string]string{"node": "3", "peers": "1=a:1, 2=b:1"})
	checkConfigError(t, "--peers", err, "cluster.peers (from --peers)", "node 3 is not among them")
	_, _, err = loadConfig("", nil, map[string]string{"node": "1", "peers": "1=a:1", "peer-ca": "x"})
	checkConfigError(t, "--peer-ca", err, "cluster.peer_ca (from --peer-ca)", "tls.cert and tls.key are missing")
}

func TestConfigShow(t *testing.T) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); settingsVariable(name) {
			t.Setenv(name, "")
		}
	}
	path := configFile(t, full)
	t.Setenv("LEAT_LOG_LEVEL", "error")
	for _, arguments := range [][]string{{}, {"--origin"}} {
		shown := ok(t, append([]string{"config", "show", "-c", path}, arguments...)...)
		again := filepath.Join(t.TempDir(), "again.toml")
		if err := os.WriteFile(again, []byte(shown), 0o600); err != nil {
			t.Fatal(err)
		}
		want := fullConfig()
		want.Log.Level = slog.LevelError
		if got, _, err := loadConfig(again, nil, nil); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("config show %v reads as %+v, %v; want %+v:\n%s", arguments, got, err, want, shown)
		}
		if strings.Contains(shown, "# LEAT_LOG_LEVEL\n") != (len(arguments) > 0) {
			t.Errorf("config show %v:\n%s", arguments, shown)
		}
	}
	all := document(t, ok(t, "config", "show", "--origin", "-o", "json", "-c", path))
	if len(all) != len(settings) {
		t.Errorf("%d keys; want %d", len(all), len(settings))
	}
	given := document(t, ok(t, "config", "show", "--origin", "-o", "json", "-c", path, "--data", "there"))
	if one := given["node.data"].(map[string]any); one["value"] != "there" || one["origin"] != "--data" {
		t.Errorf("--data there = %v", one)
	}
	one := all["limits.streams"].(map[string]any)
	if !maps.Equal(one, map[string]any{"value": 1000.0, "origin": "leat.toml:37"}) {
		t.Errorf("limits.streams = %v", one)
	}
}

func settingsVariable(name string) bool {
	for _, s := range settings {
		if s.variable() == name {
			return true
		}
	}
	return false
}

// TestConfigPage holds docs/configuration.md to the table of settings, and its example to the parser.
func TestConfigPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\| `([^`]+)` \\| `--([^`]+)` \\| (.*) \\|$").
		FindAllStringSubmatch(string(page), -1)
	if len(rows) != len(settings) {
		t.Fatalf("%d rows for %d settings", len(rows), len(settings))
	}
	for i, s := range settings {
		fallback := "none"
		if s.fallback != "" {
			fallback = "`" + s.fallback + "`"
		}
		want := []string{s.key, fallback, s.variable(), s.flag}
		if got := rows[i][1:5]; !reflect.DeepEqual(got, want) {
			t.Errorf("row %d = %q; want %q", i, got, want)
		}
	}
	examples := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(examples) < 2 {
		t.Errorf("%d examples; want at least 2", len(examples))
	}
	for _, example := range examples {
		if _, _, err := loadConfig(configFile(t, example[1]), nil, nil); err != nil {
			t.Errorf("%v in the example\n%s", err, example[1])
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(full)
	f.Add("")
	f.Add("node = { id = 1 }\ncluster = { peers = { 1 = \"a:1\" } }")
	f.Add("[cluster.peers]\n\"\\u0031\" = 'x:1'")
	f.Add("[[a]]\nb.c = [{ d = 1 }]")
	f.Add("listen.quic = \"\"\"\n[::]:1\"\"\"")
	// Properties: no panic; an error is ErrInvalidConfig, with a line; what is taken can be shown and reads
	// the same again.
	f.Fuzz(func(t *testing.T, text string) {
		var c serveConfig
		for _, s := range settings {
			if err := s.set(&c, s.fallback); err != nil {
				t.Fatal(err)
			}
		}
		again, from := c, origins{}
		if err := parseConfig(&c, from, "f", []byte(text)); err != nil {
			if !errors.Is(err, core.ErrInvalidConfig) ||
				!regexp.MustCompile(`^leat: f:[1-9]`).MatchString(err.Error()) {
				t.Fatalf("error %q; want ErrInvalidConfig with a line", err)
			}
			return
		}
		var shown strings.Builder
		if err := writeConfig(&shown, &c, from); err != nil {
			t.Fatal(err)
		}
		if err := parseConfig(&again, origins{}, "f", []byte(shown.String())); err != nil ||
			!reflect.DeepEqual(again, c) {
			t.Fatalf("%+v\nis shown as\n%s\nwhich reads as %+v, %v", c, &shown, again, err)
		}
	})
}
