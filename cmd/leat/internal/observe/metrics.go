package observe

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/node"
)

// scrapeWait bounds how long a node may take to give its figures.
const scrapeWait = 5 * time.Second

func (o *Observer) serveMetrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), scrapeWait)
	defer cancel()
	var b bytes.Buffer
	o.page(ctx).write(&b)
	metrics.WriteProcessMetrics(&b)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	if r.Method == http.MethodGet {
		_, _ = w.Write(b.Bytes()) // the client may be gone, and nobody else wants to know
	}
}

// page gathers everything there is to tell now.
func (o *Observer) page(ctx context.Context) *page {
	p := newPage()
	p.add("leat_build_info", 1, o.cfg.Version, o.cfg.Revision, o.cfg.Go)
	p.add("leat_uptime_seconds", time.Duration(o.cfg.Clock.Mono()-o.start).Seconds())
	v := o.look(ctx)
	p.add("leat_node_ready", oneIf(len(v.reasons) == 0))
	p.add("leat_node_draining", oneIf(v.state == draining))
	if v.freeErr == nil {
		p.add("leat_disk_free_bytes", float64(v.free), o.cfg.Data)
	}
	if v.stats == nil {
		return p
	}
	p.logs(v.stats)
	p.groups(v.stats)
	p.calls(&v.stats.Calls)
	for kind, count := range sorted(v.stats.Actors) {
		p.add("leat_actors", float64(count), kind)
	}
	for i := range v.stats.Peers {
		if peer := &v.stats.Peers[i]; peer.RTT > 0 {
			p.add("leat_quic_rtt_seconds", peer.RTT.Seconds(), strconv.Itoa(int(peer.ID)))
		}
	}
	if v.stats.Server != nil {
		p.door(v.stats.Server, time.Unix(0, o.cfg.Clock.Now()))
	}
	return p
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// sorted walks a map by its keys.
func sorted[K cmp.Ordered, V any](m map[K]V) func(func(K, V) bool) {
	return func(yield func(K, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}

// logs adds what is on the disk.
func (p *page) logs(s *node.Stats) {
	led := 0
	for i := range s.Topics {
		t := &s.Topics[i]
		size, segments := int64(0), 0
		for j := range t.Partitions {
			part := &t.Partitions[j]
			number := strconv.Itoa(int(part.Partition))
			p.add("leat_log_appended_bytes_total", float64(part.Appended), t.Name, number)
			p.add("leat_log_start_offset", float64(part.Start), t.Name, number)
			p.add("leat_log_end_offset", float64(part.End), t.Name, number)
			size += part.Bytes
			segments += part.Segments
		}
		led += len(t.Partitions)
		p.add("leat_log_size_bytes", float64(size), t.Name)
		p.add("leat_log_segments", float64(segments), t.Name)
		p.add("leat_expired_messages_total", float64(t.Expired), t.Name)
	}
	p.add("leat_partitions", float64(led), "leader")
	p.add("leat_partitions_unavailable", float64(s.Unavailable))
	p.spread("leat_log_fsync_seconds", &s.Syncs)
	p.spread("leat_log_fsync_batch_messages", &s.SyncRecords)
	p.add("leat_log_unsynced_bytes", float64(s.UnsyncedByte))
	p.add("leat_log_recovery_seconds", s.Recovery.Seconds())
	p.add("leat_log_recovery_truncated_bytes", float64(s.RecoveryCut))
	p.add("leat_delay_pending_messages", float64(s.Delays.Waiting))
	p.add("leat_delay_delivered_messages_total", float64(s.Delays.Fired))
	p.spread("leat_delay_late_seconds", &s.Delays.Late)
	p.add("leat_scrub_bytes_total", float64(s.Scrub.Bytes))
	p.add("leat_scrub_damaged_total", float64(s.Scrub.Damaged))
	p.add("leat_scrub_pass_seconds", s.Scrub.LastPass.Seconds())
	p.add("leat_disk_low_on_space", oneIf(s.LowOnSpace))
}

// groups adds how far groups are behind.
func (p *page) groups(s *node.Stats) {
	members := make(map[string]int)
	for i := range s.Groups {
		g := &s.Groups[i]
		members[g.Group] += len(g.Members)
		p.add("leat_consumer_lag_seconds", g.Behind.Seconds(), g.Topic, g.Group)
		for _, part := range g.Partitions {
			if part.LagRecords < 0 { // its node tells
				continue
			}
			p.add("leat_consumer_lag_messages", float64(part.LagRecords), g.Topic,
				strconv.Itoa(int(part.Partition)), g.Group)
		}
	}
	for group, count := range sorted(members) {
		p.add("leat_consumer_members", float64(count), group)
	}
	for _, r := range s.Rebalances {
		p.add("leat_group_rebalances_total", float64(r.Count), r.Group, r.Reason)
	}
}

// calls adds the requests.
func (p *page) calls(s *node.CallStats) {
	for code, count := range sorted(s.Ends) {
		p.add("leat_requests_total", float64(count), codeText(code))
	}
	p.add("leat_requests_total", float64(s.Cancelled), "cancelled")
	p.add("leat_requests_pending", float64(s.Pending))
	p.add("leat_replies_late_total", float64(s.Late))
	p.add("leat_responders", float64(s.Responders))
}

// door adds what passes the QUIC door.
func (p *page) door(s *node.ServerStats, now time.Time) {
	p.spread("leat_produce_ack_seconds", &s.AckPage, "leader")
	p.spread("leat_produce_ack_seconds", &s.AckDisk, "fsync")
	for i := range s.Topics {
		t := &s.Topics[i]
		p.add("leat_produce_messages_total", float64(t.Produced), t.Name)
		p.add("leat_produce_bytes_total", float64(t.ProducedBytes), t.Name)
		p.add("leat_dedup_hits_total", float64(t.Duplicates), t.Name)
		for code, count := range sorted(t.Refused) {
			p.add("leat_produce_errors_total", float64(count), t.Name, code.String())
		}
		for _, g := range t.Groups {
			p.add("leat_deliver_messages_total", float64(g.Delivered), t.Name, g.Name)
			p.add("leat_deliver_bytes_total", float64(g.DeliveredBytes), t.Name, g.Name)
			if g.Name != "" {
				p.add("leat_consumer_ack_messages_total", float64(g.Acked), t.Name, g.Name)
			}
		}
	}
	for _, r := range s.Requests {
		p.add("leat_admin_requests_total", float64(r.Count), r.Op, codeText(r.Code))
	}
	p.add("leat_auth_failures_total", float64(s.NoCertificate), "certificate_missing")
	p.add("leat_auth_failures_total", float64(s.BadCertificate), "certificate_untrusted")
	for usage, end := range sorted(map[string]time.Time{"peer": s.PeerExpiry, "server": s.Expiry}) {
		if !end.IsZero() {
			p.add("leat_tls_cert_expiry_seconds", end.Sub(now).Seconds(), usage)
		}
	}
	p.connections(s)
}

// connections adds the figures of QUIC. A client counts once it has said HELLO.
func (p *page) connections(s *node.ServerStats) {
	for i := range s.Quic {
		q := &s.Quic[i]
		open := float64(q.Connections)
		if q.Kind == "client" {
			open = float64(s.Clients)
		}
		p.add("leat_quic_connections", open, q.Kind)
		p.spread("leat_quic_handshake_seconds", &q.Handshakes, q.Kind, "false")
		p.spread("leat_quic_handshake_seconds", &q.Resumed, q.Kind, "true")
		p.add("leat_quic_packets_lost_total", float64(q.Lost), q.Kind)
		p.add("leat_quic_sent_bytes_total", float64(q.Sent), q.Kind)
		p.add("leat_quic_received_bytes_total", float64(q.Received), q.Kind)
	}
}

func codeText(code core.Code) string {
	if code == 0 {
		return "ok"
	}
	return code.String()
}
