package admindoc

import (
	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/messagedoc"
)

// PeekedMessage is a message that was looked at, perhaps cut.
type PeekedMessage struct {
	messagedoc.Message `yaml:",inline"`
	KeyBytes           int `json:"key_bytes" doc:"Of the whole key"`
	ValueBytes         int `json:"value_bytes" doc:"Of the whole value"`
}

// PeekedOf describes a message.
func PeekedOf(m *leat.Peeked) PeekedMessage {
	return PeekedMessage{Message: messagedoc.Of(&m.Message), KeyBytes: m.KeyBytes, ValueBytes: m.ValueBytes}
}
