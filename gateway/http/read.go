package httpdoor

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/messagedoc"
)

const (
	pageBytes = 4 << 20     // of keys and values on a page, but for the last message
	pageQuiet = time.Second // a page ends where nothing has come for so long: offsets may be without a message
)

type readQuery struct {
	Topic string `path:"topic" maxLength:"249" pattern:"^[a-zA-Z0-9._-]+$" doc:"Name of the topic"`
	From  string `query:"from" default:"earliest" doc:"earliest, latest, an offset, @TIME, or next of a page"`
	Only  int32  `query:"partition" default:"-1" minimum:"-1" maximum:"16383" doc:"Only this partition; -1: all"`
	Most  int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Messages on the page"`
	Pass  string `query:"filter" maxLength:"4096" doc:"Only messages that pass this expression, not with wait"`
	Wait  int    `query:"wait" default:"0" minimum:"0" maximum:"60" doc:"Seconds to wait for a first message"`
}

// Page is a page of messages.
type Page struct {
	Messages []Message `json:"messages" doc:"In order within each partition"`
	Next     string    `json:"next" doc:"from of the next page: the cursor behind these messages"`
	Gaps     []Gap     `json:"gaps,omitempty" doc:"What retention took between the page before and this one"`
}

func (d *Door) readRoutes() {
	register(d, huma.Operation{OperationID: "read", Method: http.MethodGet, Path: "/v1/topics/{topic}/messages",
		Summary: "Read a page of messages", Tags: []string{"read"},
		Description: "Reading changes nothing: the client keeps its place, which is next of the page. A page is " +
			"short where the topic ends; wait makes an empty one wait for a first message. With filter, a page " +
			"that has looked at many messages may be short or empty too: the topic has ended when next stays.",
		Errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable},
	}, d.read)
}

func (d *Door) read(ctx context.Context, in *readQuery) (*struct{ Body Page }, error) {
	from, err := parseStart(in.From)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "read topic", "from: %v", err)
	}
	leave, err := d.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	info, err := d.topic(ctx, in.Topic)
	if err != nil {
		return nil, err
	}
	at, gaps, err := from.resolve(info, in.Only)
	if err != nil {
		return nil, err
	}
	page := &struct{ Body Page }{Page{Messages: []Message{}, Gaps: gaps}}
	wait := time.Duration(in.Wait) * time.Second
	if in.Pass != "" {
		err = d.filtered(ctx, in, info, at, &page.Body)
		page.Body.Next = at.String()
		return page, err
	}
	if page.Body.Messages, err = d.page(ctx, info, at, in.Most, wait); err != nil {
		return nil, err
	}
	page.Body.Next = at.String()
	return page, nil
}

// page reads what there is of a topic, from places on, and moves these behind it. Where there is nothing, it
// waits for a first message.
func (d *Door) page(ctx context.Context, info *leat.TopicInfo, at places, most int, wait time.Duration) (
	[]Message, error,
) {
	messages := []Message{}
	ahead := aheadOf(info, at)
	if len(ahead) == 0 && wait == 0 {
		return messages, nil
	}
	sub, err := d.bus.Subscribe(info.Name, leat.FromEach(at.positions()))
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	quiet := pageQuiet
	if len(ahead) == 0 {
		quiet = wait
	}
	size := 0
	for size < pageBytes && len(messages) < most {
		m, err := next(ctx, sub, quiet)
		if err != nil {
			return nil, err
		}
		if m == nil {
			break
		}
		messages = append(messages, messagedoc.Of(m))
		size += len(m.Key) + len(m.Value)
		at.passed(m.Partition, m.Offset+1)
		if m.Offset+1 >= info.Partitions[m.Partition].HighWater {
			delete(ahead, m.Partition)
		}
		if len(ahead) == 0 { // also where there was nothing, and the first has come
			break
		}
		quiet = pageQuiet
	}
	return messages, nil
}

// aheadOf gives the partitions that have messages behind their places. Where a place is a time that is not
// known.
func aheadOf(info *leat.TopicInfo, at places) map[int32]bool {
	ahead := map[int32]bool{}
	for _, p := range at {
		part := &info.Partitions[p.partition]
		if p.at.Kind == core.PositionTime && part.Start < part.HighWater || p.at.Value < part.HighWater {
			ahead[p.partition] = true
		}
	}
	return ahead
}

// next gives the next message, nil if none comes within quiet. It is valid until the next call.
func next(ctx context.Context, sub *leat.Subscription, quiet time.Duration) (*leat.Message, error) {
	waiting, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	for m, err := range sub.Messages(waiting) {
		return m, err
	}
	return nil, ctx.Err()
}
