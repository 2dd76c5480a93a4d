package mmaplog_test

import (
	"fmt"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// A log takes encoded records in batches; a reader gives back whole frames.
func Example() {
	store, err := mmaplog.Open(mmaplog.Heap(), "data", mmaplog.Options{})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	log, err := store.OpenLog(core.FirstTopicID, 0, mmaplog.LogOptions{Level: core.AckPage})
	if err != nil {
		panic(err)
	}

	log.Begin(1_700_000_000_000_000_000)
	for _, value := range []string{"one", "two"} {
		size, _ := core.EncodedRecordSize(nil, []byte(value), nil)
		record := make([]byte, size)
		core.PutRecord(record, nil, []byte(value), nil, 0, 0)
		if _, err := log.Add(record, 1); err != nil {
			panic(err)
		}
	}
	end, err := log.Publish()
	fmt.Println("end", end, err)

	reader := log.Reader(log.Start())
	defer reader.Close()
	run, err := reader.Next(end)
	if err != nil {
		panic(err)
	}
	frame := core.ParseFrameHeader(run)
	payload := run[core.FrameHeaderSize:frame.Length]
	for i := range int64(frame.Records) {
		record, size, err := core.DecodeRecord(payload)
		fmt.Printf("%d %s %v\n", frame.BaseOffset+i, record.Value, err)
		payload = payload[size:]
	}
	// Output:
	// end 2 <nil>
	// 0 one <nil>
	// 1 two <nil>
}
