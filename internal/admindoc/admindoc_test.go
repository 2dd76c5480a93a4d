package admindoc

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// pin compares the JSON of a document, which scripts and clients read.
func pin(t *testing.T, doc any, want string) {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != want {
		t.Errorf("%T =\n%s\nwant\n%s", doc, text, want)
	}
}

func TestTopic(t *testing.T) {
	info := leat.TopicInfo{Name: "t", Config: leat.TopicConfig{Partitions: 2, Ack: leat.AckPage,
		Retention: leat.KeepForever, MaxRecordBytes: 9, SegmentBytes: 8, TTL: time.Second,
		DedupWindow: time.Minute},
		Partitions: []leat.PartitionInfo{{Start: 3, HighWater: 5, End: 6, DurableEnd: 4, Bytes: 7},
			{Partition: 1, Node: 2, Err: errors.New("away")}}}
	const short = `{"name":"t","partitions":2,"ack":"page","cleanup":"delete","retention_ms":0,` +
		`"retention_bytes":0,"retention_records":0,"max_record_bytes":9,"segment_bytes":8,"ttl_ms":1000,` +
		`"dedup_window_ms":60000,"messages":2,"bytes":7,"unavailable":1`
	pin(t, TopicOf(&info), short+"}")
	pin(t, FullTopicOf(&info),
		short+`,"per_partition":[{"partition":0,"node":0,"start":3,"high_water":5,"end":6,`+
			`"durable_end":4,"bytes":7},{"partition":1,"node":2,"start":0,"high_water":0,"end":0,"durable_end":0,`+
			`"bytes":0,"error":"away"}]}`)
}

// TestGroup: what is not known is absent, of the sum as well as of a partition.
func TestGroup(t *testing.T) {
	away := leat.GroupPartition{Partition: 1, Committed: -1, LagRecords: -1, LagTime: -1, AckRate: -1,
		TimeToZero: 5, Queue: leat.QueueCounts{Ready: -1, Leased: -1, Delayed: -1}}
	here := leat.GroupPartition{Member: "m", Committed: 4, LagRecords: 6, LagTime: 1500 * time.Millisecond,
		AckRate: 2, TimeToZero: 3 * time.Second, Queue: leat.QueueCounts{Ready: 1, Leased: 2, Delayed: 3}}
	queue := leat.GroupInfo{Group: "g", Topic: "t", Mode: leat.GroupQueue,
		Partitions: []leat.GroupPartition{here, away}}
	pin(t, FullGroupOf(&queue),
		`{"group":"g","topic":"t","mode":"queue","generation":0,"members":[],"per_partition":[`+
			`{"partition":0,"member":"m","committed":4,"lag":6,"lag_seconds":1.5,"acked_per_sec":2,`+
			`"zero_in_seconds":3,"ready":1,"leased":2,"delayed":3},{"partition":1}]}`)
	stream := leat.GroupInfo{Group: "g", Topic: "t", Generation: 3, Members: []string{"m"},
		Partitions: []leat.GroupPartition{here}}
	pin(t, GroupOf(&stream), `{"group":"g","topic":"t","mode":"stream","generation":3,"members":["m"],"lag":6,`+
		`"lag_seconds":1.5,"acked_per_sec":2,"zero_in_seconds":3}`)
}

func TestReset(t *testing.T) {
	info := leat.TopicInfo{Partitions: []leat.PartitionInfo{{Start: 2, HighWater: 9},
		{Partition: 1, HighWater: 5}}}
	before := leat.GroupInfo{Partitions: []leat.GroupPartition{{Committed: 4}, {Partition: 1, Committed: -1}}}
	for _, tt := range []struct {
		to   leat.Position
		want string
	}{
		{leat.Earliest, `[{"partition":0,"from":4,"to":2},{"partition":1,"to":0}]`},
		{leat.Latest, `[{"partition":0,"from":4,"to":9},{"partition":1,"to":5}]`},
		{leat.AtOffset(5), `[{"partition":0,"from":4,"to":5},{"partition":1,"to":5}]`},
		{leat.AtTime(time.Unix(1, 0)), `[{"partition":0,"from":4},{"partition":1}]`},
	} {
		r := GroupReset{Group: "g"}
		r.Begin(&before)
		if err := r.Foresee(&info, tt.to); err != nil {
			t.Errorf("to %v: %v", tt.to, err)
		}
		pin(t, r.PerPartition, tt.want)
	}
	for _, offset := range []int64{1, 6} {
		r := GroupReset{Group: "g"}
		r.Begin(&before)
		if err := r.Foresee(&info, leat.AtOffset(offset)); !errors.Is(err, core.ErrOffsetOutOfRange) {
			t.Errorf("to %d: %v", offset, err)
		}
	}
	r := GroupReset{Group: "g", Topic: "t", To: "latest"}
	r.Begin(&before)
	r.End(&leat.GroupInfo{Partitions: []leat.GroupPartition{{Partition: 1, Committed: 5}, {Committed: -1}}})
	pin(t, r,
		`{"group":"g","topic":"t","to":"latest","dry_run":false,"per_partition":[{"partition":0,"from":4},`+
			`{"partition":1,"to":5}]}`)
}

func TestDeleted(t *testing.T) {
	info := leat.TopicInfo{Name: "t", Partitions: []leat.PartitionInfo{{Start: 2, HighWater: 9}}}
	groups := []leat.GroupInfo{{Group: "a", Topic: "t"}, {Group: "a", Topic: "other"}}
	pin(t, DeletedOf(&info, groups, true), `{"topic":"t","dry_run":true,"messages":7,"groups":["a"]}`)
	pin(t, DeletedOf(&info, nil, false), `{"topic":"t","dry_run":false,"messages":7,"groups":[]}`)
	groups = make([]leat.GroupInfo, groupsMost+1)
	for i := range groups {
		groups[i].Topic = "t"
	}
	if doc := DeletedOf(&info, groups, false); len(doc.Groups) != groupsMost {
		t.Errorf("%d groups, want %d", len(doc.Groups), groupsMost)
	}
}

func TestLetters(t *testing.T) {
	pin(t, LetterTopicOf(&leat.DeadLetterTopic{Name: "t.dlq.g", Topic: "t", Group: "g"}), `{"name":"t.dlq.g",`+
		`"topic":"t","group":"g","pending":0,"redriven":0,"dropped":0,"per_partition":[]}`)
	l := leat.DeadLetter{Topic: "t.dlq.g", Offset: 5, Died: time.Unix(0, 1767225600_000_000_005),
		Key: []byte("key"), Value: []byte("value"), Known: true,
		Origin: core.DeadLetterOrigin{Topic: "t", Offset: 7, Time: 1767225600_000_000_000, Group: "g",
			Attempts: 3, Code: core.CodeRejected, Reason: "no\xff"}}
	pin(t, LetterOf(&l, 2),
		`{"topic":"t.dlq.g","partition":0,"offset":5,"time":"2026-01-01T00:00:00.000000005Z",`+
			`"key":"ke","value":"va","key_bytes":3,"value_bytes":5,"origin":{"topic":"t","partition":0,"offset":7,`+
			`"time":"2026-01-01T00:00:00.000000000Z","group":"g","attempts":3,"code":"LEAT-7002","reason":"no�"}}`)
	l.Known, l.Key = false, nil
	text, err := json.Marshal(LetterOf(&l, 0))
	if err != nil || strings.Contains(string(text), "origin") || strings.Contains(string(text), `"key":`) ||
		!strings.Contains(string(text), `"value":"value"`) {
		t.Errorf("a letter of somebody else: %s, %v", text, err)
	}
}

func TestDelayed(t *testing.T) {
	at := time.Unix(0, 1767225600_000_000_000)
	page := leat.DelayedPage{Next: "n", Messages: []leat.DelayedMessage{{Handle: "d1", Topic: "t", Due: at,
		Stored: at, Key: []byte{255}, Bytes: 3}}}
	pin(t, DelayedPageOf(&page), `{"messages":[{"handle":"d1","topic":"t","partition":0,`+
		`"due":"2026-01-01T00:00:00.000000000Z","stored":"2026-01-01T00:00:00.000000000Z","key_base64":"/w==",`+
		`"bytes":3}],"next":"n"}`)
	pin(t, DelayedPageOf(&leat.DelayedPage{}), `{"messages":[]}`)
}

func TestCluster(t *testing.T) {
	info := leat.ClusterInfo{Name: "c", Answer: 2, Meta: 1, Nodes: []leat.NodeInfo{{ID: 2, Address: "b",
		Up: true, Since: time.Unix(1767225600, 5)}, {ID: 1, Address: "a", RTT: 1500, Err: errors.New("away")}}}
	topics := []leat.TopicInfo{{Partitions: []leat.PartitionInfo{{Node: 1, Err: errors.New("away")}, {Node: 2}}}}
	pin(t, ClusterOf(&info, topics),
		`{"name":"c","answer":2,"meta":1,"down":1,"topics":1,"partitions":{"all":2,`+
			`"unavailable":1},"nodes":[{"node":1,"address":"a","up":false,"rtt_us":1.5,"partitions":1,"error":"away"},`+
			`{"node":2,"address":"b","up":true,"since":"2026-01-01T00:00:00Z","rtt_us":0,"partitions":1}]}`)
	pin(t, ClusterOf(&leat.ClusterInfo{}, nil).Nodes, `[]`)
}
