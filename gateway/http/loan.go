package httpdoor

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// A token is what a client holds of a message that it pulled: the numbers of the loan, and a seal over them
// with topic and group. It is no secret worth keeping beyond the lease, and needs nothing at the door.
//
//	version u8 | partition u32 | slot u32 | offset u64 | epoch u64 | first 16 bytes of HMAC-SHA256
//
// Numbers are big endian. The whole is base64url without padding.
const (
	loanVersion = 1
	loanBytes   = 25
	sealBytes   = 16 // RFC 2104 §5: not less than half of the hash
)

// LoanKeyBytes is the least length of Config.LoanKey.
const LoanKeyBytes = 32

// loanDomain keeps seals of tokens apart from others under the same key.
const loanDomain = "leat loan\x00"

// sealer makes and checks the tokens of one door.
type sealer struct{ key []byte }

// newSealer takes the key, or a random one, with which tokens are good as long as the door.
func newSealer(key []byte) sealer {
	if key == nil {
		key = make([]byte, LoanKeyBytes)
		_, _ = rand.Read(key) // it never fails
	}
	return sealer{key}
}

// seal is what makes a token good: nobody else knows the key.
func (s sealer) seal(dst []byte, topic, group string, loan []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	head := make([]byte, 0, len(loanDomain)+4+len(topic)+len(group)+loanBytes)
	head = append(head, loanDomain...)
	for _, name := range []string{topic, group} {
		head = binary.BigEndian.AppendUint16(head, uint16(len(name)))
		head = append(head, name...)
	}
	_, _ = mac.Write(append(head, loan...)) // a hash takes all
	return append(dst, mac.Sum(nil)[:sealBytes]...)
}

// token gives the token of a loan.
func (s sealer) token(topic, group string, l leat.Loan) string {
	raw := make([]byte, 0, loanBytes+sealBytes)
	raw = append(raw, loanVersion)
	raw = binary.BigEndian.AppendUint32(raw, uint32(l.Partition))
	raw = binary.BigEndian.AppendUint32(raw, uint32(l.Slot))
	raw = binary.BigEndian.AppendUint64(raw, uint64(l.Offset))
	raw = binary.BigEndian.AppendUint64(raw, uint64(l.Epoch))
	raw = s.seal(raw, topic, group, raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// loan reads a token of this topic and group.
func (s sealer) loan(topic, group, token string) (leat.Loan, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	switch {
	case err != nil:
		return leat.Loan{}, fmt.Errorf("%s is no token of a message", core.Quote(token))
	case len(raw) != loanBytes+sealBytes || raw[0] != loanVersion:
		return leat.Loan{}, fmt.Errorf("%d bytes of version %d: want a token as it was given out", len(raw),
			append(raw, 0)[0])
	case !hmac.Equal(raw[loanBytes:], s.seal(nil, topic, group, raw[:loanBytes])):
		return leat.Loan{}, fmt.Errorf("the token was not given out for group %s of topic %s, or not under "+
			"the key of this door", core.Quote(group), core.Quote(topic))
	}
	return leat.Loan{
		Partition: int32(binary.BigEndian.Uint32(raw[1:])),
		Slot:      int32(binary.BigEndian.Uint32(raw[5:])),
		Offset:    int64(binary.BigEndian.Uint64(raw[9:])),
		Epoch:     int64(binary.BigEndian.Uint64(raw[17:])),
	}, nil
}
