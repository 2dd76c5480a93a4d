package main

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leatbus/leat/core"
)

// kind is what a value is in a file.
type kind string

const (
	kindText   kind = "a string"
	kindNumber kind = "an integer"
	kindPeers  kind = "a table"
)

// setting is one row of the table that file, environment, flags and docs/configuration.md share.
type setting struct {
	key      string // section.name, as in the file
	flag     string
	kind     kind
	fallback string // the default, in the spelling of flags
	bare     string // what a flag without a value means; empty: it needs one
	about    string // for help: what it is
	set      func(c *serveConfig, text string) error
	get      func(c *serveConfig) any // string, int or map[string]string, as a file spells it
}

// section and name are the parts of the key.
func (s *setting) section() string { section, _, _ := strings.Cut(s.key, "."); return section }
func (s *setting) name() string    { _, name, _ := strings.Cut(s.key, "."); return name }

// variable is the setting's name in the environment.
func (s *setting) variable() string {
	return "LEAT_" + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// settings are in the order of sections.
var settings = []setting{
	numberSetting("node.id", "node", "0", 0, 65535, "id of this node in its cluster, 1 to 65535; 0: it is alone",
		func(c *serveConfig) *int { return &c.Node.ID }),
	textSetting("node.data", "data", "data", "folder of the data; one process at a time",
		func(c *serveConfig) *string { return &c.Node.Data }, wantFolder),
	textSetting("listen.quic", "listen", "127.0.0.1:4740", "UDP address for clients and peers",
		func(c *serveConfig) *string { return &c.Listen.QUIC }, wantListen),
	textSetting("listen.http", "http", "127.0.0.1:4741", "TCP address for metrics and health, or off",
		func(c *serveConfig) *string { return &c.Listen.HTTP }, wantListenOrOff),
	textSetting("listen.gateway", "gateway", "off",
		"TCP address for messages over HTTP, as 127.0.0.1:4742, or off",
		func(c *serveConfig) *string { return &c.Listen.Gateway }, wantListenOrOff),
	textSetting("listen.gateway_tokens", "gateway-tokens", "",
		"file of tokens for --gateway (leat token); empty: none is asked for",
		func(c *serveConfig) *string { return &c.Listen.GatewayTokens }, wantText),
	textSetting("listen.gateway_secret", "gateway-secret", "",
		"file with the secret of a token with the scope admin, with which --gateway reaches other nodes",
		func(c *serveConfig) *string { return &c.Listen.GatewaySecret }, wantText),
	textSetting("listen.tokens", "tokens", "",
		"file of tokens for QUIC clients (leat token); empty: none is asked for",
		func(c *serveConfig) *string { return &c.Listen.Tokens }, wantText),
	textSetting("listen.gateway_key", "gateway-key", "",
		"file of the key for messages pulled at --gateway, one for all nodes; empty: one in the data folder",
		func(c *serveConfig) *string { return &c.Listen.GatewayKey }, wantText),
	textSetting("tls.cert", "tls-cert", "",
		"file with the certificate of the server; empty: development CA, loopback only",
		func(c *serveConfig) *string { return &c.TLS.Cert }, wantText),
	textSetting("tls.key", "tls-key", "", "file with its key, closed to other users",
		func(c *serveConfig) *string { return &c.TLS.Key }, wantText),
	textSetting("tls.client_ca", "tls-client-ca", "",
		"file with the CAs whose clients may connect; empty: none is asked for",
		func(c *serveConfig) *string { return &c.TLS.ClientCA }, wantText),
	textSetting("cluster.name", "cluster", "leat", "name of the cluster, the same on all nodes",
		func(c *serveConfig) *string { return &c.Cluster.Name }, wantCluster),
	{key: "cluster.peers", flag: "peers", kind: kindPeers,
		about: "addresses of all nodes by id, as in 1=n1:4740,2=n2:4740; empty: the node is alone",
		set:   setPeers, get: func(c *serveConfig) any { return spellPeers(c.Cluster.Peers) }},
	textSetting("cluster.advertise", "advertise", "",
		"address that clients are told; empty: that of the peers, or of listen",
		func(c *serveConfig) *string { return &c.Cluster.Advertise }, wantReachableOrNone),
	textSetting("cluster.peer_ca", "peer-ca", "",
		"file with the CAs of the other nodes; empty: development CA, loopback only",
		func(c *serveConfig) *string { return &c.Cluster.PeerCA }, wantText),
	{key: "log.level", flag: "log-level", kind: kindText, fallback: "info", about: "debug, info, warn or error",
		set: setLevel,
		get: func(c *serveConfig) any { return strings.ToLower(c.Log.Level.String()) }},
	{key: "log.scrub_every", flag: "scrub-every", kind: kindText, fallback: "1d",
		about: "how often everything stored is read and checked, as in 12h or 7d, or off",
		set:   setScrubEvery,
		get: func(c *serveConfig) any {
			if c.Log.ScrubEvery == 0 {
				return "off"
			}
			return humanSpan(c.Log.ScrubEvery)
		}},
	textSetting("log.on_damage", "on-damage", "fail",
		"partition with durable records that cannot be read: fail or skip",
		func(c *serveConfig) *string { return &c.Log.OnDamage }, wantOnDamage),
	numberSetting("limits.connections", "max-connections", "10000", 1, 1_000_000,
		"connections of clients at a time",
		func(c *serveConfig) *int { return &c.Limits.Connections }),
	numberSetting("limits.streams", "max-streams", "1024", 1, 65_535,
		"producers and subscriptions per connection",
		func(c *serveConfig) *int { return &c.Limits.Streams }),
	{key: "push.allow", flag: "push-allow", kind: kindText,
		about: "addresses that leat push may reach besides public ones, as in 10.0.0.0/8,192.0.2.7/32",
		set:   setPushAllow, get: func(c *serveConfig) any { return spellPrefixes(c.Push.Allow) }},
	{key: "push.allow_http", flag: "push-allow-http", kind: kindText, fallback: "off", bare: "on",
		about: "on: leat push may post without TLS; or off", set: setPushAllowHTTP,
		get: func(c *serveConfig) any { return map[bool]string{true: "on", false: "off"}[c.Push.AllowHTTP] }},
}

// settingOf finds a setting by key; nil if there is none.
func settingOf(key string) *setting {
	for i := range settings {
		if settings[i].key == key {
			return &settings[i]
		}
	}
	return nil
}

func textSetting(key, flag, fallback, about string, field func(*serveConfig) *string,
	check func(string) error) setting {
	return setting{key: key, flag: flag, kind: kindText, fallback: fallback, about: about,
		set: func(c *serveConfig, text string) error {
			if err := check(text); err != nil {
				return err
			}
			*field(c) = text
			return nil
		},
		get: func(c *serveConfig) any { return *field(c) },
	}
}

func numberSetting(key, flag, fallback string, lowest, highest int, about string,
	field func(*serveConfig) *int) setting {
	return setting{key: key, flag: flag, kind: kindNumber, fallback: fallback, about: about,
		set: func(c *serveConfig, text string) error {
			n, err := strconv.Atoi(text)
			if err != nil || n < lowest || n > highest {
				return fmt.Errorf("found %s, want a number from %d to %d", core.Quote(text), lowest, highest)
			}
			*field(c) = n
			return nil
		},
		get: func(c *serveConfig) any { return *field(c) },
	}
}

func setLevel(c *serveConfig, text string) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
		"error": slog.LevelError}
	level, ok := levels[text]
	if !ok {
		return fmt.Errorf("found %s, want debug, info, warn or error", core.Quote(text))
	}
	c.Log.Level = level
	return nil
}

func setScrubEvery(c *serveConfig, text string) error {
	if text == "off" {
		c.Log.ScrubEvery = 0
		return nil
	}
	every, err := parseSpan(text)
	if err != nil || every < time.Second {
		return fmt.Errorf("found %s, want a duration of 1s or more, as in 12h or 7d, or off", core.Quote(text))
	}
	c.Log.ScrubEvery = every
	return nil
}

// setPushAllow reads ranges of addresses, separated by commas.
func setPushAllow(c *serveConfig, text string) error {
	var allow []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		if text == "" {
			break
		}
		prefix, err := netip.ParsePrefix(strings.TrimSpace(part))
		if err != nil || prefix != prefix.Masked() || prefix.Addr().Is4In6() {
			return fmt.Errorf("found %s, want ranges of addresses, as in 10.0.0.0/8,fd00::/8", core.Quote(part))
		}
		allow = append(allow, prefix)
	}
	c.Push.Allow = allow
	return nil
}

func spellPrefixes(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, prefix := range list {
		texts[i] = prefix.String()
	}
	return strings.Join(texts, ",")
}

func setPushAllowHTTP(c *serveConfig, text string) error {
	if text != "on" && text != "off" {
		return fmt.Errorf("found %s, want on or off", core.Quote(text))
	}
	c.Push.AllowHTTP = text == "on"
	return nil
}

func wantOnDamage(text string) error {
	if text != "fail" && text != "skip" {
		return fmt.Errorf("found %s, want fail or skip", core.Quote(text))
	}
	return nil
}

// setPeers reads id=address, separated by commas.
func setPeers(c *serveConfig, text string) error {
	peers := map[uint16]string{}
	for part := range strings.SplitSeq(text, ",") {
		if text == "" {
			break
		}
		id, address, found := strings.Cut(strings.TrimSpace(part), "=")
		if !found {
			return fmt.Errorf("found %s, want id=address, as in 1=n1:4740,2=n2:4740", core.Quote(part))
		}
		if err := addPeer(peers, id, address); err != nil {
			return err
		}
	}
	c.Cluster.Peers = peers
	return nil
}

func addPeer(peers map[uint16]string, id, address string) error {
	n, err := strconv.ParseUint(id, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("found the id %s, want a number from 1 to 65535", core.Quote(id))
	}
	if _, twice := peers[uint16(n)]; twice {
		return fmt.Errorf("found node %d twice, want each node once", n)
	}
	if err := wantReachable(address); err != nil {
		return fmt.Errorf("node %d: %w", n, err)
	}
	peers[uint16(n)] = address
	return nil
}

// spellPeers gives peers the keys that files have.
func spellPeers(peers map[uint16]string) map[string]string {
	spelled := make(map[string]string, len(peers))
	for _, id := range slices.Sorted(maps.Keys(peers)) {
		spelled[strconv.Itoa(int(id))] = peers[id]
	}
	return spelled
}

// wantText refuses what no path or name has, and what could not be shown again.
func wantText(text string) error {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, isControl) {
		return fmt.Errorf("found %s, want text without control characters", core.Quote(text))
	}
	return nil
}

func wantFolder(text string) error {
	if text == "" {
		return fmt.Errorf("found nothing, want the path of a folder")
	}
	return wantText(text)
}

func wantCluster(text string) error {
	if core.ValidateName("cluster", text) != nil {
		return fmt.Errorf("found %s, want 1 to %d of a-z A-Z 0-9 . _ - that do not start with __",
			core.Quote(text), core.MaxNameBytes)
	}
	return nil
}

// wantListen takes host:port; no host stands for all addresses of the machine, port 0 for a free one.
func wantListen(text string) error {
	if _, _, ok := splitAddress(text); !ok {
		return fmt.Errorf("found %s, want host:port, as in 127.0.0.1:4740 or [::1]:4740", core.Quote(text))
	}
	return nil
}

func wantListenOrOff(text string) error {
	if text == "off" {
		return nil
	}
	if err := wantListen(text); err != nil {
		return fmt.Errorf("%w, or off", err)
	}
	return nil
}

func wantReachableOrNone(text string) error {
	if text == "" {
		return nil
	}
	return wantReachable(text)
}

// wantReachable takes an address that others can dial.
func wantReachable(text string) error {
	host, port, ok := splitAddress(text)
	ip, err := netip.ParseAddr(host)
	if !ok || host == "" || port == 0 || err == nil && ip.IsUnspecified() {
		return fmt.Errorf("found %s, want an address that others can dial, as in n1.example.com:4740",
			core.Quote(text))
	}
	return nil
}

func splitAddress(text string) (host string, port uint64, ok bool) {
	host, digits, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, false
	}
	port, err = strconv.ParseUint(digits, 10, 16)
	return host, port, err == nil && !strings.ContainsFunc(host, notInHost)
}

func notInHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') &&
		!strings.ContainsRune(".-_:%", r)
}
