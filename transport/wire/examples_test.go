package wire

import (
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/leatbus/leat/core"
)

// update rewrites golden files and the examples of docs/protocol.md; read the diff before it is committed. A
// changed byte there breaks every other side that speaks the protocol.
var update = flag.Bool("update", false, "rewrite golden files")

// example is one frame.
type example struct {
	name string
	says string // for the document, if it is there
	head Header
	body any    // as JSON, if not nil
	raw  []byte // the payload otherwise
}

func (e *example) encode() []byte {
	if e.body != nil {
		return Marshal(nil, e.head, e.body)
	}
	h := e.head
	h.Length = uint32(len(e.raw))
	return append(h.Append(nil), e.raw...)
}

// exampleLog is the log frame of one record, as a producer sends it or as a node has stored it.
func exampleLog(stored bool) []byte {
	key, value := []byte("AAPL"), []byte("187.44")
	size, err := core.EncodedRecordSize(key, value, nil)
	if err != nil {
		panic(err)
	}
	payload := make([]byte, size)
	core.PutRecord(payload, key, value, nil, xxhash.Sum64(key), 0)
	h := core.FrameHeader{
		Length: uint32(core.FrameHeaderSize + size), PayloadCRC: core.Checksum(payload), Records: 1,
		ProducerID: 0x1122334455667788, ProducerEpoch: 1, BaseSeq: 41, Version: core.FrameVersion,
	}
	if stored {
		h.Index, h.BaseOffset, h.Time, h.Term = 9, 1000, exampleTime, 1
	}
	out := make([]byte, core.FrameHeaderSize)
	h.Encode(out, core.HeaderSeed(1))
	if !stored {
		clear(out[4:8]) // the checksum of the header is the node's to write
	}
	return append(out, payload...)
}

// exampleThinned is the record of exampleLog as it passes a filter that leaves out the three before it.
func exampleThinned() []byte {
	gone := core.FrameHeader{Length: core.FrameHeaderSize, BaseOffset: 1000, Records: 3,
		PayloadCRC: core.Checksum(nil), Attrs: uint8(core.FrameEmpty), Version: core.FrameVersion}
	out := make([]byte, core.FrameHeaderSize)
	gone.Encode(out, 0)
	record := exampleLog(true)
	h := core.ParseFrameHeader(record)
	h.BaseOffset = 1003
	h.Encode(record, 0)
	return append(out, record...)
}

// exampleTime is 2026-01-01, in nanoseconds.
const exampleTime = 1767225600_000_000_000

var (
	exampleMap = MapBody{Epoch: 3, Cluster: "c1", Meta: 1, GroupNodes: []uint16{1, 2}, Nodes: []NodeBody{
		{ID: 1, Address: "10.0.0.1:4740", Up: true}, {ID: 2, Address: "10.0.0.2:4740"}}}
	exampleError = ErrorBody{Op: "publish", Cause: "partition 3", Hint: "ask node 2", Node: 2}
	exampleAcks  = []AckEntry{
		{Partition: 3, Records: 1, BaseSeq: 41, Epoch: 1, Offset: 1000, Time: exampleTime},
		{Partition: 3, Code: core.CodeNotLeader, Records: 1, BaseSeq: 42, Epoch: 1, Node: 2, Offset: -1},
	}
	exampleAcked = []AckedEntry{{Partition: 3, Generation: 2, Offset: 1001},
		{Partition: core.MaxPartitions - 1, Offset: 1 << 40}}
)

func acksPayload() (out []byte) {
	for i := range exampleAcks {
		out = exampleAcks[i].Append(out)
	}
	return out
}

func ackedPayload() (out []byte) {
	for i := range exampleAcked {
		out = exampleAcked[i].Append(out)
	}
	return out
}

// cataloguePayload is two records: a topic was created, and deleted.
func cataloguePayload() []byte {
	created := core.CatalogueRecord{Kind: core.CatalogueCreated, ID: 5, Time: exampleTime, Version: 11,
		Name: "trades", Config: core.TopicConfig{Partitions: 2, Retention: core.KeepForever},
		Placement: core.Place([]uint16{1, 2}, 2, 0)}
	deleted := core.CatalogueRecord{Kind: core.CatalogueDeleted, ID: 5, Version: 12}
	return AppendCatalogue(AppendCatalogue(nil, &created), &deleted)
}

var examples = []example{
	{name: "hello", head: Header{Type: Hello}, body: HelloBody{Version: 1, Features: 4, Client: "billing"},
		says: "A client begins. The payload has 45 bytes, aux and arg are 0."},
	{name: "welcome", head: Header{Type: Welcome}, body: WelcomeBody{Version: 1, Features: 4, Server: "v0.3.0",
		Node: 1, Start: "f00d", Map: exampleMap}},
	{name: "goaway", head: Header{Type: GoAway, Arg: 10_000}},
	{name: "ping", head: Header{Type: Ping, Arg: 0x0102030405060708}},
	{name: "pong", head: Header{Type: Pong, Arg: 0x0102030405060708}},
	{name: "request", head: Header{Type: Request, Aux: uint16(OpDeleteTopic), Arg: 7},
		body: NameBody{Name: "trades"}},
	{name: "request-dead-letters", head: Header{Type: Request, Aux: uint16(OpReadDeadLetters), Arg: 8},
		body: DeadLetterReadBody{Topic: "trades.dlq.billing", Limit: 100},
		says: "A client asks for dead letters of partition 0. The aux is the operation, and the arg returns in\n" +
			"the answer."},
	{name: "request-answer-loans", head: Header{Type: Request, Aux: uint16(OpAnswerLoans), Arg: 9},
		body: LoansBody{Topic: "trades", Group: "billing", Kind: SettleAck, Loans: []LoanBody{exampleLoan}},
		says: "A client says that a message which it pulled is done."},
	{name: "request-put-schedule", head: Header{Type: Request, Aux: uint16(OpPutSchedule), Arg: 10},
		body: ScheduleBody{Topic: "trades", Name: "close", Cron: "0 18 * * mon-fri", Zone: "Europe/Berlin",
			Key: new([]byte("AAPL")), Value: new([]byte("{}"))},
		says: "A client has a message published whenever trading ends. Key and value are in base64."},
	{name: "response", head: Header{Type: Response, Arg: 7}, body: Empty{}},
	{name: "response-error", head: Header{Type: Response, Aux: uint16(core.CodeNotLeader), Arg: 7},
		body: exampleError},
	{name: "map", head: Header{Type: Map}, body: exampleMap},

	{name: "producer-open", head: Header{Type: ProducerOpen}, body: ProducerOpenBody{Topic: "trades", Ack: 2,
		ProducerID: 0x1122334455667788, Name: "billing", Instance: 1 << 63, Resume: true,
		Partitions: []ProducerPartition{{Partition: 3, Epoch: 1, NextSeq: 41}}}},
	{name: "producer-ok", head: Header{Type: ProducerOK, Arg: 8 << 20}, body: ProducerOKBody{
		TopicID: 5, Epoch: 1,
		MaxRecordBytes: 1 << 20,
		Partitions:     []ProducerPartition{{Partition: 3, Epoch: 2, LostFrom: 30, LostTo: 41}}}},
	{name: "produce", head: Header{Type: Produce, Aux: 3}, raw: exampleLog(false),
		says: "One record with the key `AAPL` and the value `187.44` for partition 3: sequence 41 of producer\n" +
			"0x1122334455667788 in epoch 1. The log frame begins at 0x10, its record at 0x50."},
	{name: "acks", head: Header{Type: Acks}, raw: acksPayload(),
		says: "Two answers for partition 3: sequence 41 is stored at offset 1000; sequence 42 is not,\n" +
			"node 2 has the partition (error 4002, offset −1)."},
	{name: "produce-delayed", head: Header{Type: Produce, Aux: 3}, raw: exampleDelayed(),
		says: "On a stream of delayed messages: the same message in a record of `__delay`, to be delivered 30\n" +
			"minutes after it was stored, as sequence 41 of producer 0x1122334455664000. Its record is at 0x50,\n" +
			"the key at 0x68, the value at 0x80, and in it the message at 0xa8."},
	{name: "credit", head: Header{Type: Credit, Arg: 16 << 20}},

	{name: "subscribe", head: Header{Type: Subscribe, Arg: 4 << 20}, body: SubscribeBody{
		Topic: "trades", ReadAt: 1,
		Partitions: []SubscribePartition{{Partition: 3, Kind: 3, Value: 1000}, {Partition: 4}}}},
	{name: "subscribe-filter", head: Header{Type: Subscribe, Arg: 4 << 20}, body: SubscribeBody{Topic: "trades",
		Partitions: []SubscribePartition{{Partition: 3, Kind: 2}}, Filter: `header("region") == "eu"`},
		says: "A client with 4 MiB of credit asks for what comes in partition 3 from now on, as far as it\n" +
			"passes a filter."},
	{name: "subscribed", head: Header{Type: Subscribed}, body: SubscribedBody{TopicID: 5,
		Partitions: []SubscribedPartition{{Partition: 3, Offset: 1000},
			{Partition: 4, Code: core.CodeNotLeader, Error: &exampleError}}}},
	{name: "batch", head: Header{Type: Batch, Aux: 3, Arg: 1000}, raw: exampleLog(true),
		says: "The same record as a reader of partition 3 gets it, who wanted offset 1000: the node has written\n" +
			"index, base offset, time, term and the checksum of the header. Payload and payloadCRC are those of\n" +
			"PRODUCE."},
	{name: "batch-filtered", head: Header{Type: Batch, Aux: 3, Arg: 1000}, raw: exampleThinned(),
		says: "The same for a reader with a filter that lets offset 1003 through and nothing else up to there:\n" +
			"a frame of type empty (attrs 3) stands for three records."},
	{name: "partition-failed",
		head: Header{Type: PartitionFailed, Aux: 3, Arg: core.CodeOffsetOutOfRange.QUIC()},
		body: ErrorBody{Op: "read"}},
	{name: "add", head: Header{Type: Add, Aux: 3, Arg: 1000}},
	{name: "remove", head: Header{Type: Remove, Aux: 3}},

	{name: "join", head: Header{Type: Join}, body: JoinBody{Group: "billing", Topic: "trades"}},
	{name: "joined", head: Header{Type: Joined}, body: JoinedBody{Member: "m1", TopicID: 5}},
	{name: "assign", head: Header{Type: Assign, Aux: 3, Arg: 1<<64 - 1}, raw: AppendAssign(nil, 2),
		says: "A member gets partition 3 in generation 2. Nothing was committed: arg is −1."},
	{name: "revoke", head: Header{Type: Revoke, Aux: 3, Arg: 2}},
	{name: "drained", head: Header{Type: Drained, Aux: 3, Arg: 2}},
	{name: "member-ack", head: Header{Type: MemberAck}, raw: ackedPayload()},
	{name: "commit", head: Header{Type: Commit, Arg: 8}, raw: ackedPayload()},
	{name: "committed", head: Header{Type: Committed, Arg: 8}},
	{name: "fenced", head: Header{Type: Fenced, Aux: uint16(core.CodeFenced)}, body: ErrorBody{Op: "join"}},
	{name: "leave", head: Header{Type: Leave}},
	{name: "left", head: Header{Type: Left}},

	{name: "peer-hello", head: Header{Type: PeerHello}, body: PeerHelloBody{Version: 1, Features: 4,
		Cluster: "c1", Node: 2, Advertise: "10.0.0.2:4740", Start: "f00d", Catalogue: 12}},
	{name: "peer-welcome", head: Header{Type: PeerWelcome},
		body: PeerHelloBody{Version: 1, Cluster: "c1", Node: 1}},
	{name: "catalogue", head: Header{Type: Catalogue, Aux: 1, Arg: 12}, raw: cataloguePayload()},
	{name: "catalogue-ok", head: Header{Type: CatalogueOK, Arg: 12}},

	{name: "queue-open", head: Header{Type: QueueOpen, Arg: 1 << 20}, body: QueueOpenBody{Group: "billing",
		Topic: "trades", Mode: 2, MaxHeld: 500, Kind: 3, Value: 1000,
		Config: QueueConfigBody{
			Lease: 3e10, MaxUnsettled: 1 << 17, MaxAttempts: 16, Rate: 1e6, RetryMin: 1e8, RetryMax: 6e10,
			RetryFactor: 2, RetryJitter: 0.25}}},
	{name: "queue-open-filter", head: Header{Type: QueueOpen, Arg: 1 << 20}, body: QueueOpenBody{Group: "work",
		Topic: "trades", Mode: 1, MaxHeld: 500, Filter: `size > 1024`}},
	{name: "queue-opened", head: Header{Type: QueueOpened}, body: QueueOpenedBody{Member: "m1", TopicID: 5,
		Lease: 3e10, MaxUnsettled: 1 << 17}},
	{name: "grant", head: grantHeader(), raw: grantPayload(),
		says: "A member of a queue group gets offset 1000 of partition 3 for the first time: bit 0 of " +
			"what begins\nthere, in slot 5 of epoch 7. The run begins at 0x30 with the time, its record at 0x40."},
	{name: "settle", head: Header{Type: Settle, Aux: uint16(SettleAck)}, raw: settlePayload(SettleAck),
		says: "It is done, and so are three more records of another grant, all with epochs and slots as granted."},
	{name: "settle-nack", head: Header{Type: Settle, Aux: uint16(SettleNack), Arg: 5e9},
		raw: settlePayload(SettleNack)},
	{name: "settle-reject", head: Header{Type: Settle, Aux: uint16(SettleReject), Arg: 11},
		raw: settlePayload(SettleReject)},
	{name: "settle-nack-because", head: Header{Type: Settle, Aux: uint16(SettleNackBecause), Arg: 1<<64 - 1},
		raw: settlePayload(SettleNackBecause)},
	{name: "settle-extend", head: Header{Type: Settle, Aux: uint16(SettleExtend)},
		raw: settlePayload(SettleExtend)},
	{name: "stale", head: Header{Type: Stale}, raw: settlePayload(SettleAck)},

	{name: "call-open", head: Header{Type: CallOpen}},
	{name: "call", head: Header{Type: Call, Arg: 7}, raw: callPayload(exampleCall),
		says: "A client asks what answers requests on `quotes`, at the node of partition 3, and\n" +
			"waits for 1.5 s. The topic begins at 0x28, the record at 0x30."},
	{name: "call-cancel", head: Header{Type: CallCancel, Arg: 7}},
	{name: "reply", head: Header{Type: Reply, Arg: 7}, raw: exampleRecord()},
	{name: "reply-error", head: Header{Type: Reply, Arg: 7, Aux: uint16(core.CodeNoResponders)},
		body: ErrorBody{Op: `request on topic "quotes"`}, says: "Nobody does."},
	{name: "gathered", head: Header{Type: Gathered, Arg: 7}},
	{name: "respond", head: Header{Type: Respond}, body: RespondBody{Topic: "quotes", Window: 64}},
	{name: "responding", head: Header{Type: Responding}, body: RespondingBody{TopicID: 5,
		MaxRecordBytes: 1 << 20}},
	{name: "resign", head: Header{Type: Resign}},
}

// requests are the bodies of every request and its answer.
var requests = map[Op][2]any{
	OpTopics: {TopicsRequest{Name: "trades", Detail: true}, TopicsAnswer{Topics: []TopicBody{{
		Name: "trades", ID: 5,
		Partitions: 1, Ack: 2, Retention: -1, RetentionBytes: 1 << 30, RetentionRecords: 1e9, SegmentBytes: 1 << 26,
		MaxRecordBytes: 1 << 20, Placement: []uint16{1}, Local: []PartitionBody{{Start: 1, End: 9, HighWater: 8,
			DurableEnd: 7, Bytes: 640, Code: uint16(core.CodeLogFenced), Error: &exampleError}}}}}},
	OpCreateTopic: {TopicBody{Name: "trades", Partitions: 4, Ack: 2, Cleanup: 1}, Empty{}},
	OpDeleteTopic: {NameBody{Name: "trades"}, Empty{}},
	OpAlterTopic: {AlterBody{Name: "trades", Retention: new(int64(6e11)), RetentionBytes: new(int64),
		RetentionRecords: new(int64), MaxRecordBytes: new(int)}, Empty{}},
	OpGroups: {Empty{}, GroupsAnswer{Groups: []GroupInfoBody{{Group: "billing", Topic: "trades", Generation: 2,
		Members: []string{"m1"}, Partitions: []GroupPartitionBody{{Partition: 3, Member: "m1", Committed: -1}}},
		{Group: "work", Topic: "jobs", Mode: uint8(core.GroupQueue), Members: []string{"q1", "q2"},
			Partitions: []GroupPartitionBody{{Partition: 1, Committed: 1000, Lag: 12, Leased: new(int64(8)),
				Delayed: new(int64(3)), Oldest: new(int64(700))}}}}}},
	OpResetGroup:  {ResetBody{Group: "billing", Topic: "trades", Offsets: []ResetPartition{{3, 1000}}}, Empty{}},
	OpDeleteGroup: {GroupBody{Group: "billing", Topic: "trades"}, Empty{}},
	OpCluster: {Empty{}, ClusterAnswer{Map: exampleMap, Node: 1, Peers: []Peer{{ID: 2, Address: "10.0.0.2:4741",
		Up: true, Since: exampleTime, RTT: 300_000, Catalog: 12, Error: "none"}}}},
	OpOffsets: {OffsetsBody{Topic: "trades", Partitions: []SubscribePartition{{Partition: 3, Kind: 2}}},
		OffsetsAnswer{Partitions: []SubscribedPartition{{Partition: 3, Offset: 1000}}}},
	OpAges: {AgesBody{Records: []RecordBody{{Topic: "trades", Partition: 3, Offset: 1000}, {Topic: "clicks"}}},
		AgesAnswer{Ages: []int64{4_200_000_000, -1}}},
	OpDeadLetters: {Empty{}, DeadLettersAnswer{Topics: []DeadLettersBody{{Name: "trades.dlq.billing",
		Topic: "trades", Group: "billing", Placement: []uint16{1, 2}, Local: []DeadLetterPartitionBody{{
			Partition: 1, Start: 1, End: 9, Pending: 3, Redriven: 4, Dropped: 1, Code: uint16(core.CodeLogFenced),
			Error: &exampleError}}}}}},
	OpReadDeadLetters: {
		DeadLetterReadBody{Topic: "trades.dlq.billing", Partition: 1, From: 1, To: 9, Limit: 100, Bare: true,
			Job: 77, Filter: DeadLetterFilterBody{Key: new([]byte("AAPL")), Code: uint16(core.CodeHandlerFailed),
				Since: exampleTime, Until: exampleTime + 1,
				Headers: []HeaderBody{{Key: "region", Value: []byte("eu")}}}},
		DeadLetterPageBody{Next: 9, End: 9, Letters: []DeadLetterBody{{Offset: 8, Died: exampleTime,
			Key: new([]byte("AAPL")), Value: new([]byte("187.44")), Size: 6,
			Headers: []HeaderBody{{Key: "region", Value: []byte("eu")}},
			Origin: &DeadLetterOriginBody{Topic: "trades", Partition: 1, Offset: 1000, Time: exampleTime,
				Attempts: 16, Code: uint16(core.CodeHandlerFailed), Reason: []byte("no"), Group: "billing"}}}}},
	OpSettleDeadLetters: {DeadLetterSettleBody{Topic: "trades.dlq.billing", Partition: 1, Job: 77,
		Runs: [][2]int64{{8, 9}}, Dropped: true, Done: true}, DeadLetterSettled{Settled: 1}},
	OpCheckFilter: {FilterBody{Filter: `key == "AAPL"`, Topic: "trades", Group: "work"}, Empty{}},
	OpPeek: {PeekBody{Topic: "trades", Partition: 3, From: PositionBody{Kind: 3, Value: 1000},
		To: PositionBody{Kind: 2}, Key: []byte("AAPL"), ID: []byte("order-1"), Remembered: true, Limit: 10,
		Scan: 1000, ValueBytes: 4},
		PeekAnswer{Records: []PeekedBody{{Offset: 1000, Time: exampleTime, Key: []byte("AAPL"),
			Value: []byte("187."), KeyBytes: 4, ValueBytes: 6,
			Headers: []HeaderBody{{Key: "source", Value: []byte("desk")}}, ID: []byte("order-1"), TTL: 2e9}},
			Scanned: 1, Next: 1001, Done: true}},
	OpPull: {PullBody{Topic: "trades", Group: "billing", Mode: 2, Max: 100, From: PositionBody{Kind: 2},
		Config: QueueConfigBody{Lease: 3e10}},
		PulledAnswer{Messages: []LentBody{{Loan: exampleLoan, Attempt: 1, Time: exampleTime,
			Key: new([]byte("AAPL")), Value: new([]byte("187.44")), TTL: 2e9, ID: []byte("order-1"),
			Headers: []HeaderBody{{Key: "source", Value: []byte("desk")}}}}}},
	OpAnswerLoans: {LoansBody{Topic: "trades", Group: "billing", Kind: SettleReject, Delay: -1,
		Reason: []byte("no"), Loans: []LoanBody{exampleLoan}}, LoansAnswer{Codes: []uint16{0}}},
	OpDelayed: {DelayedBody{Topic: "trades", Key: new([]byte("AAPL")), From: exampleTime, To: exampleTime + 1,
		Limit: 100, After: "1767225600000.1.41"}, DelayedAnswer{Next: "1767225600000.1.42",
		Messages: []DelayedMessageBody{{Place: "1767225600000.1.42", Handle: exampleHandle, Topic: "trades",
			Partition: 3, Due: exampleTime, Stored: exampleTime - 1, Key: new([]byte("AAPL")), Bytes: 40}}}},
	OpCancelDelayed: {HandleBody{Handle: exampleHandle}, DelayOutcomeBody{Outcome: uint8(core.DelayFired),
		Mine: true}},
	OpReschedule: {RescheduleBody{Handle: exampleHandle, Due: exampleTime},
		DelayOutcomeBody{Outcome: uint8(core.DelayMoved), Handle: exampleHandle, Mine: true}},
	OpPutSchedule:    {exampleSchedule, Empty{}},
	OpDeleteSchedule: {ScheduleNameBody{Topic: "trades", Name: "nightly"}, ScheduleDeleted{Deleted: true}},
	OpSchedules: {SchedulesBody{Topic: "trades", After: &ScheduleNameBody{Topic: "trades", Name: "hourly"}},
		SchedulesAnswer{Schedules: []ScheduleBody{exampleSchedule}, More: true}},
}

var exampleSchedule = ScheduleBody{Topic: "trades", Name: "nightly", Cron: "30 2 * * *",
	Zone: "Europe/Berlin", Missed: uint8(core.MissedAll), Key: new([]byte("AAPL")),
	Value: new([]byte("187.44")), TTL: 6e11, Headers: []HeaderBody{{Key: "source", Value: []byte("desk")}},
	Partition: 3, Next: exampleTime}

// exampleHandle names the delayed message at offset 42 of the node that has partition 3 of topic id 17.
const exampleHandle = "d1.17.3.42.0b5fb5e1"

// exampleDelayed is the log frame of one delayed message, as a producer sends it: the record of exampleLog,
// in one of __delay.
func exampleDelayed() []byte {
	record := exampleLog(false)[core.FrameHeaderSize:]
	key := core.DelayKey{Random: 0x1122334455667788, Number: 41}.Encode(nil)
	value := (&core.Delayed{Topic: 17, Partition: 3, Level: core.AckDisk, Relative: true, Due: 1_800_000_000_000,
		Replaces: -1, Record: record}).Encode(nil)
	size, err := core.EncodedRecordSize(key, value, nil)
	if err != nil {
		panic(err)
	}
	payload := make([]byte, size)
	core.PutRecord(payload, key, value, nil, xxhash.Sum64(key), 0)
	h := core.FrameHeader{
		Length: uint32(core.FrameHeaderSize + size), PayloadCRC: core.Checksum(payload), Records: 1,
		ProducerID: 0x1122334455664003, BaseSeq: 41, Version: core.FrameVersion,
	}
	out := make([]byte, core.FrameHeaderSize)
	h.Encode(out, core.HeaderSeed(1))
	clear(out[4:8]) // the checksum of the header is the node's to write
	return append(out, payload...)
}

// exampleLoan is of the grant in the examples.
var exampleLoan = LoanBody{Partition: 3, Offset: 1000, Slot: 5, Epoch: 7}

// golden compares bytes with a file under testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path, text := filepath.Join("testdata", name+".hex"), hex.Dump(got)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%v; make it with go test ./transport/wire -update", err)
	}
	if err != nil || text != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s%v", path, text, want, err)
	}
}

const (
	documentPath = "../../docs/protocol.md"
	sectionTitle = "## Examples in hex\n"
)

// section is what docs/protocol.md says, by the codec.
func section() string {
	var b strings.Builder
	b.WriteString(sectionTitle)
	b.WriteString("\nWritten by the codec (`go test ./transport/wire -update`), so they are what this build\n" +
		"sends. A frame begins at 0 with its header.\n")
	for _, e := range examples {
		if e.says != "" {
			b.WriteString("\n**" + e.head.Type.String() + ".** " + e.says + "\n")
			b.WriteString("\n```\n" + hex.Dump(e.encode()) + "```\n")
		}
	}
	return b.String()
}

// TestDocument holds the examples of the document to the codec.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile(documentPath)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(text), sectionTitle)
	if !found {
		before = strings.TrimRight(before, "\n") + "\n\n"
	}
	if _, behind, more := strings.Cut(after, "\n## "); more {
		after = "\n## " + behind
	} else {
		after = ""
	}
	want := before + section() + after
	if *update {
		if err = os.WriteFile(documentPath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s: the examples are not what the codec writes; got\n%s\nwant\n%s", documentPath,
			strings.TrimPrefix(string(text), before), section())
	}
}
