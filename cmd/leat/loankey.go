package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/leatbus/leat/core"
	httpdoor "github.com/leatbus/leat/gateway/http"
)

// loanKeyName is the file in the data folder that has the key of the HTTP door.
const loanKeyName = "gateway.key"

// loanKey is the key that signs the tokens of messages pulled over HTTP: that of a file, or where none is
// named one that is made once and stays in the data folder, so that tokens outlive the process.
func loanKey(file, folder string) ([]byte, error) {
	own := file == ""
	if own {
		file = filepath.Join(folder, loanKeyName)
	}
	key, err := os.ReadFile(file)
	if own && errors.Is(err, fs.ErrNotExist) {
		key, err = makeLoanKey(file)
	}
	if err == nil && len(key) < httpdoor.LoanKeyBytes {
		err = fmt.Errorf("%s has %d bytes: want %d random ones at least", core.Quote(file), len(key),
			httpdoor.LoanKeyBytes)
	}
	if err != nil {
		return nil, core.NewError(core.CodeInvalidConfig, "read the key of --gateway", err)
	}
	return key, nil
}

// makeLoanKey leaves a new key, or none where it cannot be written whole.
func makeLoanKey(file string) ([]byte, error) {
	key := make([]byte, httpdoor.LoanKeyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	next := file + ".new"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(next, file)
	}
	return key, err
}
