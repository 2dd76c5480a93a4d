//go:build !unix

package ring

import "errors"

// processorTime is not known here.
func processorTime() (int64, error) { return 0, errors.ErrUnsupported }
