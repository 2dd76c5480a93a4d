package httpdoor

import (
	"context"
	"net/http"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/messagedoc"
)

// filterScan is how many messages a page with a filter looks at, at most.
const filterScan = 1_000_000

// filteredStep is how many messages are asked for at once: the size of a page is looked at in between.
const filteredStep = 8

// filtered fills a page with messages that pass a filter, from places on, and moves these behind what was
// looked at: also where nothing has passed, so that the next page goes on there.
func (d *Door) filtered(ctx context.Context, in *readQuery, info *leat.TopicInfo, at places,
	page *Page) error {
	if in.Wait > 0 {
		return refuse(http.StatusBadRequest, "read topic "+core.Quote(in.Topic),
			"wait: not with filter; /events follows a topic with one")
	}
	size, scan := 0, int64(filterScan)
	for i := range at {
		end := info.Partitions[at[i].partition].HighWater
		q := leat.PeekQuery{Partitions: []int32{at[i].partition}, From: at[i].at, To: leat.AtOffset(end),
			Filter: in.Pass}
		for q.After == nil || q.After.Offset < end {
			q.Limit, q.Scan = min(in.Most-len(page.Messages), filteredStep), scan
			if q.Limit <= 0 || scan <= 0 || size >= pageBytes {
				return nil
			}
			found, err := d.bus.Peek(ctx, in.Topic, q)
			if err != nil {
				return err
			}
			scan -= found.Scanned
			for j := range found.Messages {
				m := &found.Messages[j].Message
				page.Messages = append(page.Messages, messagedoc.Of(m))
				size += len(m.Key) + len(m.Value)
			}
			if found.Next == nil {
				at[i].at = leat.AtOffset(end)
				break
			}
			q.After = found.Next
			at[i].at = leat.AtOffset(found.Next.Offset)
		}
	}
	return nil
}
