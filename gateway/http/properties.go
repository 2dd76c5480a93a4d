package httpdoor

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

// Headers of a request that give a message a property, as net/http spells them.
const (
	idempotencyHeader = "Idempotency-Key"
	ttlHeader         = "Leat-Ttl"
	delayHeader       = "Leat-Delay"
	deliverAtHeader   = "Leat-Deliver-At"
)

// propertiesOf gives a message what headers of its request say of it beside key and headers of its own.
func propertiesOf(header http.Header, m *leat.Message) error {
	if values, given := header[idempotencyHeader]; given {
		id, err := messageID(values)
		if err != nil {
			return refuse(http.StatusBadRequest, "publish", "Idempotency-Key: %v", err)
		}
		m.ID = id
	}
	if values, given := header[ttlHeader]; given {
		ttl, err := time.ParseDuration(values[0])
		if err != nil || len(values) > 1 || ttl < core.MinTTL || ttl > core.MaxTTL {
			return refuse(http.StatusBadRequest, "publish", "Leat-TTL %s: want one duration as in 30s or 1h30m, "+
				"from 1ms to 10 years", core.Quote(strings.Join(values, ", ")))
		}
		m.TTL = ttl
	}
	return delayOf(header, m)
}

// delayOf gives a message the time at which headers say that it is to be delivered.
func delayOf(header http.Header, m *leat.Message) error {
	delays, times := header[delayHeader], header[deliverAtHeader]
	if len(delays)+len(times) > 1 {
		return refuse(http.StatusBadRequest, "publish", "Leat-Delay, Leat-Deliver-At: want one of them, once")
	}
	var err error
	switch {
	case len(delays) == 1:
		if m.Delay, err = time.ParseDuration(delays[0]); err != nil || m.Delay < core.MinTTL {
			return refuse(http.StatusBadRequest, "publish", "Leat-Delay %s: want a duration as in 30s or 1h30m, 1ms "+
				"or more", core.Quote(delays[0]))
		}
	case len(times) == 1:
		if m.DeliverAt, err = deliverAt(times[0]); err != nil {
			return refuse(http.StatusBadRequest, "publish", "Leat-Deliver-At: %v", err)
		}
	}
	return nil
}

// deliverAt reads a time of RFC 3339.
func deliverAt(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.Year() < 1970 || at.Year() >= 2262 {
		return time.Time{}, fmt.Errorf("found %s, want a time as in 2026-01-31T12:00:00Z", core.Quote(text))
	}
	return at, nil
}

// withoutProperties refuses a request of many messages that says something of one.
func withoutProperties(header http.Header) error {
	for _, name := range []string{idempotencyHeader, ttlHeader, delayHeader, deliverAtHeader} {
		if header[name] != nil {
			return refuse(http.StatusBadRequest, "publish", "%s: with many messages each has its own", name)
		}
	}
	return nil
}

// messageID reads an Idempotency-Key: a string of RFC 8941 §3.3.3, with quotes, or what it is without them.
func messageID(values []string) (string, error) {
	if len(values) > 1 {
		return "", fmt.Errorf("it comes %d times: want it once", len(values))
	}
	text := values[0]
	if strings.HasPrefix(text, `"`) {
		plain, ok := unquote(text[1:])
		if !ok {
			return "", fmt.Errorf("found %s, want a string in quotes, or one without any", core.Quote(text))
		}
		text = plain
	}
	return checkedID(text)
}

// checkedID takes what the bus takes as the id of a message.
func checkedID(id string) (string, error) {
	if id == "" || len(id) > core.MaxIDBytes {
		return "", fmt.Errorf("%d bytes: want 1 to %d", len(id), core.MaxIDBytes)
	}
	return id, nil
}

// unquote reads a quoted string behind its first quote.
func unquote(text string) (string, bool) {
	var plain strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"':
			return plain.String(), i == len(text)-1
		case c == '\\':
			if i++; i == len(text) || text[i] != '"' && text[i] != '\\' {
				return "", false
			}
			c = text[i]
		case c < 0x20 || c > 0x7e:
			return "", false
		}
		plain.WriteByte(c)
	}
	return "", false
}

// goesByID reports whether nothing but its id says where a message goes. chosen: the client does.
func goesByID(m *leat.Message, chosen bool) bool { return m.ID != "" && m.Key == nil && !chosen }

// spread gives messages with an id and no key their partitions. The bus knows ids by partition, so that a
// message which is sent again has to go where it went before: not to the partition that is next.
type spread struct {
	table atomic.Pointer[routing.Table] // nil until it is needed; topics keep their partitions
}

func (s *spread) partition(ctx context.Context, bus *leat.Bus, topic, id string) (int32, error) {
	table := s.table.Load()
	if table == nil {
		info, err := bus.Topic(ctx, topic)
		if err != nil {
			return 0, err
		}
		made, err := routing.NewTable(int32(len(info.Partitions)))
		if err != nil {
			return 0, core.NewError(core.CodeInternal, "publish to topic "+core.Quote(topic), err)
		}
		table = &made
		s.table.Store(table)
	}
	return table.Partition(routing.Slot(routing.Hash([]byte(id)))), nil
}
