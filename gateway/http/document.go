package httpdoor

import "github.com/leatbus/leat/internal/messagedoc"

// Message is a message as it is read. What is not UTF-8 is in the field with _base64; a null key or value is
// in neither.
type Message = messagedoc.Message

// Header is one header of a message.
type Header = messagedoc.Header
