package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/leatbus/leat/core"
)

// serveConfig is what leat serve runs with.
type serveConfig struct {
	Node    nodeConfig
	Listen  listenConfig
	TLS     tlsConfig
	Cluster clusterConfig
	Log     logConfig
	Limits  limitsConfig
	Push    pushConfig
}

type nodeConfig struct {
	ID   int    // within the cluster; 0: the node is alone
	Data string // folder
}

type listenConfig struct {
	QUIC string
	HTTP string // "off" where there is no such door
	// Gateway is for messages over HTTP; "off" where there is no such door.
	Gateway string
	// GatewayTokens is the file of its tokens; empty: everyone may do everything there.
	GatewayTokens string
	// GatewaySecret is the file with the secret that this door shows the nodes of a cluster; empty: none.
	GatewaySecret string
	// Tokens is the file of the tokens of QUIC clients; empty: everyone may do everything there.
	Tokens string
	// GatewayKey is the file of the key of its tokens of messages; empty: one in the data folder.
	GatewayKey string
}

// tlsConfig names files; all empty: the development CA.
type tlsConfig struct{ Cert, Key, ClientCA string }

type clusterConfig struct {
	Name      string
	Peers     map[uint16]string // id → address, this node among them; empty: the node is alone
	Advertise string
	PeerCA    string
}

type logConfig struct {
	Level      slog.Level
	ScrubEvery time.Duration // of what is stored; 0: never
	OnDamage   string        // fail or skip
}

type limitsConfig struct{ Connections, Streams int }

// pushConfig says what push subscriptions may reach besides public addresses over TLS.
type pushConfig struct {
	Allow     []netip.Prefix
	AllowHTTP bool
}

// origin says where a value comes from: "default", "leat.toml:12", "LEAT_NODE_DATA" or "--data".
type origin string

const originDefault origin = "default"

// origins has the origin of every setting, by key.
type origins map[string]origin

// loadConfig gives every setting its value: that of its flag, else of its variable in env ("NAME=value",
// as os.Environ has it; empty counts as unset), else of the file, else the default. path may be empty.
// flags has the flags that were given, by name; those of other matters are passed over. The first thing
// that is wrong is an error that says where it stands and what is allowed there.
func loadConfig(path string, env []string, flags map[string]string) (serveConfig, origins, error) {
	var c serveConfig
	from := origins{}
	for _, s := range settings {
		from[s.key] = originDefault
		if err := s.set(&c, s.fallback); err != nil {
			return c, from, core.Errorf(core.CodeInternal, "default of "+s.key, "%v", err)
		}
	}
	if path != "" {
		if err := loadFile(&c, from, path); err != nil {
			return c, from, err
		}
	}
	if err := loadEnvironment(&c, from, env); err != nil {
		return c, from, err
	}
	for _, s := range settings {
		text, given := flags[s.flag]
		if !given {
			continue
		}
		if err := s.set(&c, text); err != nil {
			return c, from, wrongSetting("--"+s.flag, s.key, err)
		}
		from[s.key] = origin("--" + s.flag)
	}
	return c, from, c.check(from)
}

// loadEnvironment takes what the environment sets. A name within two letters of a setting's is taken for a
// slip; others belong to somebody else, as those that Kubernetes makes up for services.
func loadEnvironment(c *serveConfig, from origins, env []string) error {
	names := make([]string, len(settings))
	for i, s := range settings {
		names[i] = s.variable()
	}
	for _, pair := range slices.Sorted(slices.Values(env)) {
		name, text, _ := strings.Cut(pair, "=")
		if text == "" || !strings.HasPrefix(name, "LEAT_") || slices.Contains(clientVariables, name) {
			continue
		}
		i := slices.Index(names, name)
		if i < 0 {
			if near := nearest(name, names); near != "" {
				return configError(name, "there is no such setting", "did you mean "+near+"?")
			}
			continue
		}
		if err := settings[i].set(c, text); err != nil {
			return wrongSetting(name, settings[i].key, err)
		}
		from[settings[i].key] = origin(name)
	}
	return nil
}

// clientVariables are those of the other commands.
var clientVariables = []string{"LEAT_SERVER", "LEAT_OUTPUT", "LEAT_TLS_CA", "LEAT_CONFIG_DIR", "LEAT_SEED",
	"LEAT_GATEWAY", "LEAT_TOKEN", "LEAT_TOKEN_FILE"}

const pushHint = "push subscriptions are made at the HTTP door: give it an address (--gateway)"

// check looks at settings that depend on each other.
func (c *serveConfig) check(from origins) error {
	wrong := func(key, found, hint string) error {
		return configError(key+" (from "+string(from[key])+")", found, hint)
	}
	t, peers := c.TLS, c.Cluster.Peers
	switch {
	case c.Listen.GatewayTokens != "" && c.Listen.Gateway == httpOff:
		return wrong("listen.gateway_tokens", "listen.gateway is off", "give the door an address (--gateway)")
	case len(c.Push.Allow) > 0 && c.Listen.Gateway == httpOff:
		return wrong("push.allow", "listen.gateway is off", pushHint)
	case c.Push.AllowHTTP && c.Listen.Gateway == httpOff:
		return wrong("push.allow_http", "listen.gateway is off", pushHint)
	case c.Listen.GatewaySecret != "" && (c.Listen.Gateway == httpOff || len(peers) == 0):
		return wrong("listen.gateway_secret", "no HTTP door reaches other nodes",
			"leave it away, or see listen.gateway and cluster.peers")
	case c.Listen.GatewaySecret == "" && c.Listen.Tokens != "" && c.Listen.Gateway != httpOff && len(peers) > 0:
		return wrong("listen.tokens", "listen.gateway_secret is missing",
			"the HTTP door reaches the other nodes with the secret of a token with the scope admin: give its file")
	case c.Listen.GatewayKey != "" && c.Listen.Gateway == httpOff:
		return wrong("listen.gateway_key", "listen.gateway is off", "give the door an address (--gateway)")
	case t.Cert != "" && t.Key == "":
		return wrong("tls.cert", "tls.key is missing", "a certificate needs its key: give both (leat cert issue)")
	case t.Key != "" && t.Cert == "":
		return wrong("tls.key", "tls.cert is missing", "a key needs its certificate: give both (leat cert issue)")
	case t.ClientCA != "" && t.Cert == "":
		return wrong("tls.client_ca", "tls.cert and tls.key are missing",
			"a server that asks for certificates shows one itself: give both")
	case len(peers) == 0:
		return c.checkAlone(wrong)
	case c.Node.ID == 0:
		return wrong("cluster.peers", "node.id is missing", "say which of them this node is (--node)")
	case peers[uint16(c.Node.ID)] == "":
		return wrong("cluster.peers", fmt.Sprintf("node %d is not among them", c.Node.ID),
			"list all nodes, this one too, the same on each")
	case c.Cluster.PeerCA != "" && t.Cert == "":
		return wrong("cluster.peer_ca", "tls.cert and tls.key are missing",
			"nodes show each other their certificates: give both (leat cert issue --node)")
	}
	return nil
}

// checkAlone refuses what only a node of a cluster uses.
func (c *serveConfig) checkAlone(wrong func(key, found, hint string) error) error {
	const hint = "list all nodes of the cluster in cluster.peers, this one too, or leave this away"
	switch {
	case c.Node.ID != 0:
		return wrong("node.id", "cluster.peers is missing", hint)
	case c.Cluster.PeerCA != "":
		return wrong("cluster.peer_ca", "cluster.peers is missing", hint)
	}
	return nil
}

// wrongSetting says where a value stands that err refuses.
func wrongSetting(where, key string, err error) error {
	return core.Errorf(core.CodeInvalidConfig, where, "%s: %w", key, err)
}

func configError(where, found, hint string) error {
	err := core.Errorf(core.CodeInvalidConfig, where, "%s", found)
	err.Hint = hint
	return err
}
