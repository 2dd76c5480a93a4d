package httpdoor

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

type adminMessagesQuery struct {
	AdminTopicPath
	Only      int32  `query:"partition" default:"-1" minimum:"-1" maximum:"16383" doc:"Only this one; -1: all"`
	From      string `query:"from" default:"earliest" doc:"earliest, an offset or @TIME, in each partition"`
	To        string `query:"to" doc:"An offset or @TIME, itself left out; absent: the end"`
	Key       string `query:"key" doc:"Only messages with this key; empty: any"`
	KeyBase64 string `query:"key_base64" doc:"The same, for keys that are not UTF-8"`
	ID        string `query:"id" maxLength:"128" doc:"Only messages with this id; empty: any"`
	Filter    string `query:"filter" maxLength:"4096" doc:"Only messages that pass; see docs/filters.md"`
	Most      int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Messages on the page"`
	Scan      int64  `query:"scan" default:"100000" minimum:"1" maximum:"10000000" doc:"Looked at, at most"`
	Preview   int    `query:"preview" default:"4096" minimum:"0" doc:"Bytes of a key and a value; 0: all"`
	Cursor    string `query:"cursor" maxLength:"40" doc:"next of the page before"`
}

// PeekedPage is a page of them.
type PeekedPage struct {
	Messages []admindoc.PeekedMessage `json:"messages" doc:"Partition after partition, each by offset"`
	Scanned  int64                    `json:"scanned" doc:"Messages looked at"`
	Next     string                   `json:"next,omitempty" doc:"cursor of the next page; absent at the end"`
}

type adminMessagePath struct {
	AdminTopicPath
	Partition int32 `path:"partition" minimum:"0" maximum:"16383"`
	Offset    int64 `path:"offset" minimum:"0"`
}

func (d *Door) adminMessageRoutes() {
	list := admin("admin-peek", http.MethodGet, "/topics/{topic}/messages", "Look at messages",
		http.StatusBadRequest, http.StatusNotFound)
	list.Description = "Nothing is joined or acknowledged. A page ends after limit messages, after scan that " +
		"were looked at, or where there are no more. A message whose id is remembered is found at once, and is " +
		"all of the page; else pages look for it."
	register(d, list, d.adminMessages)
	register(d, admin("admin-get-message", http.MethodGet, "/topics/{topic}/messages/{partition}/{offset}",
		"Get one message in full", http.StatusNotFound), d.adminMessage)
}

func (d *Door) adminMessages(
	ctx context.Context, in *adminMessagesQuery,
) (*struct{ Body PeekedPage }, error) {
	q, err := in.query()
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "look at topic "+core.Quote(in.Topic), "%v", err)
	}
	page, err := d.bus.Peek(ctx, in.Topic, q)
	if err != nil {
		return nil, err
	}
	out := &struct{ Body PeekedPage }{PeekedPage{Messages: []admindoc.PeekedMessage{},
		Scanned: page.Scanned}}
	for i := range page.Messages {
		out.Body.Messages = append(out.Body.Messages, admindoc.PeekedOf(&page.Messages[i]))
	}
	if page.Next != nil {
		out.Body.Next = fmt.Sprintf("%d:%d", page.Next.Partition, page.Next.Offset)
	}
	return out, nil
}

// query reads what was asked for. Errors name the parameter.
func (in *adminMessagesQuery) query() (q leat.PeekQuery, err error) {
	q = leat.PeekQuery{Limit: in.Most, Scan: in.Scan, ValueBytes: in.Preview, Filter: in.Filter,
		ID: in.ID}
	if in.Only >= 0 {
		q.Partitions = []int32{in.Only}
	}
	if q.From, err = peekPosition(in.From); err != nil {
		return q, fmt.Errorf("from: %w", err)
	}
	if q.To, err = peekPosition(in.To); err != nil {
		return q, fmt.Errorf("to: %w", err)
	}
	switch {
	case in.Key != "" && in.KeyBase64 != "":
		return q, fmt.Errorf("key and key_base64: want one of them")
	case in.Key != "":
		q.Key = []byte(in.Key)
	case in.KeyBase64 != "":
		if q.Key, err = base64.StdEncoding.DecodeString(in.KeyBase64); err != nil {
			return q, fmt.Errorf("key_base64: %w", err)
		}
	}
	q.After, err = parsePoint(in.Cursor)
	return q, err
}

// peekPosition reads a position that does not depend on when it is read.
func peekPosition(text string) (leat.Position, error) {
	if text == "" {
		return leat.Position{}, nil
	}
	at, err := parseStart(text)
	if err != nil {
		return leat.Position{}, err
	}
	if at.places != nil {
		return leat.Position{}, fmt.Errorf("%s is a cursor of /v1: want a position", core.Quote(text))
	}
	return at.at, nil
}

// parsePoint reads the cursor of a page of messages: nil for none.
func parsePoint(text string) (*leat.PeekPoint, error) {
	if text == "" {
		return nil, nil
	}
	partition, offset, _ := strings.Cut(text, ":")
	p, errPartition := strconv.ParseInt(partition, 10, 32)
	o, errOffset := strconv.ParseInt(offset, 10, 64)
	if errPartition != nil || errOffset != nil || p < 0 || o < -1 {
		return nil, fmt.Errorf("cursor: found %s, want next of a page", core.Quote(text))
	}
	return &leat.PeekPoint{Partition: int32(p), Offset: o}, nil
}

func (d *Door) adminMessage(
	ctx context.Context, in *adminMessagePath,
) (*struct{ Body admindoc.PeekedMessage }, error) {
	page, err := d.bus.Peek(ctx, in.Topic, leat.PeekQuery{Partitions: []int32{in.Partition},
		From: leat.AtOffset(in.Offset), To: leat.AtOffset(in.Offset + 1), Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(page.Messages) == 0 || page.Messages[0].Offset != in.Offset {
		return nil, &badRequest{http.StatusNotFound, core.Errorf(core.CodeOffsetOutOfRange, "get message",
			"partition %d of topic %s has none with offset %d", in.Partition, core.Quote(in.Topic), in.Offset)}
	}
	return &struct{ Body admindoc.PeekedMessage }{admindoc.PeekedOf(&page.Messages[0])}, nil
}
