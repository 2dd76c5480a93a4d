package core

import (
	"fmt"
	"strconv"
	"strings"
)

// delayHandlePrefix begins every handle; another form of handles will have another number.
const delayHandlePrefix = "d1."

// maxDelayHandle is the longest handle: 20 digits of the topic, 5 of the partition, 19 of the offset, 8 of
// the tag, and what parts them.
const maxDelayHandle = len(delayHandlePrefix) + 20 + 1 + 5 + 1 + 19 + 1 + 8

// firedHeaderBytes is what the handle adds to the headers of a message that is delivered.
const firedHeaderBytes = 6 + len(DelayIDHeader) + maxDelayHandle

// DelayHandle names a delayed message to users: the target, where it is stored in __delay of the node that
// has the target, and a part of the hash of its key there.
type DelayHandle struct {
	Topic     uint64
	Partition int32
	Offset    int64
	Tag       uint32
}

// String gives the handle as users see it.
func (h DelayHandle) String() string {
	dst := make([]byte, 0, maxDelayHandle)
	dst = append(dst, delayHandlePrefix...)
	dst = append(strconv.AppendUint(dst, h.Topic, 10), '.')
	dst = append(strconv.AppendInt(dst, int64(h.Partition), 10), '.')
	dst = append(strconv.AppendInt(dst, h.Offset, 10), '.')
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, digits[h.Tag>>shift&0xf])
	}
	return string(dst)
}

// ParseDelayHandle reads what String gave, and nothing else: CodeInvalidRecord if it is no handle.
func ParseDelayHandle(text string) (DelayHandle, error) {
	h, ok := parseDelayHandle(text)
	if !ok {
		return DelayHandle{}, &Error{Code: CodeInvalidRecord, Op: "handle " + Quote(text),
			Hint: "give the handle as Receipt.Handle or leat delay ls had it",
			Err:  fmt.Errorf("want %s and four numbers with dots between them", delayHandlePrefix)}
	}
	return h, nil
}

func parseDelayHandle(text string) (h DelayHandle, ok bool) {
	rest, ok := strings.CutPrefix(text, delayHandlePrefix)
	parts := strings.Split(rest, ".")
	if !ok || len(text) > maxDelayHandle || len(parts) != 4 || len(parts[3]) != 8 {
		return h, false
	}
	topic, err1 := strconv.ParseUint(parts[0], 10, 64)
	partition, err2 := strconv.ParseUint(parts[1], 10, 31)
	offset, err3 := strconv.ParseUint(parts[2], 10, 63)
	tag, err4 := strconv.ParseUint(parts[3], 16, 32)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || topic < FirstTopicID ||
		partition >= MaxPartitions {
		return h, false
	}
	h = DelayHandle{Topic: topic, Partition: int32(partition), Offset: int64(offset), Tag: uint32(tag)}
	return h, h.String() == text // one spelling: no signs, no zeros in front
}
