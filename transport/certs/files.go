package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/leatbus/leat/core"
)

const certificateBlock = "CERTIFICATE"

// fileBytesMax is far above any real chain, and keeps a wrong path from filling the memory.
const fileBytesMax = 1 << 20

// Permissions that a file must not have. A group may read keys: that is how secrets reach a service.
const (
	keyBits   fs.FileMode = 0o027
	trustBits fs.FileMode = 0o002
)

// invalid is ErrInvalidConfig with a hint of its own.
func invalid(op, hint string, cause error) error {
	err := core.NewError(core.CodeInvalidConfig, op, cause)
	err.Hint = hint
	return err
}

// fileError gives an error of the file system its code. An absent file is a mistake of configuration.
func fileError(op string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return invalid(op, "check the path", err)
	case errors.Is(err, fs.ErrPermission):
		return core.NewError(core.CodePermission, op, err)
	}
	return core.NewError(core.CodeIO, op, err)
}

// readFile reads a file whose permissions share none with forbidden.
func readFile(op, name string, forbidden fs.FileMode) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fileError(op, err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return nil, invalid(op, "check the path", fmt.Errorf("%s is not a regular file", strconv.Quote(name)))
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fileError(op, err)
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, fileError(op, err)
	}
	data, err := io.ReadAll(io.LimitReader(file, fileBytesMax+1))
	switch {
	case err != nil:
		return nil, fileError(op, err)
	case len(data) > fileBytesMax:
		return nil, invalid(op, "check the path", fmt.Errorf("%s is over 1 MiB", strconv.Quote(name)))
	case forbidden == keyBits && !bytes.Contains(data, []byte("PRIVATE KEY")):
		return data, nil // no secret: what it is instead makes the better error
	}
	return data, checkMode(op, name, info, forbidden)
}

// checkMode refuses permissions that let others read a secret or replace what is trusted. Windows keeps
// access in lists that mode bits do not show; there the folder of the user protects its files.
func checkMode(op, name string, info fs.FileInfo, forbidden fs.FileMode) error {
	mode := info.Mode().Perm()
	if runtime.GOOS == "windows" || mode&forbidden == 0 {
		return nil
	}
	change := "chmod o-w "
	switch {
	case info.IsDir():
		change = "chmod 700 "
	case forbidden == keyBits:
		change = "chmod 600 "
	}
	err := core.Errorf(core.CodePermission, op, "%s has mode %04o, open to other users",
		strconv.Quote(name), mode)
	err.Hint = "run: " + change + name
	return err
}

// parseCertificates reads the certificates of a PEM file: at least one, and nothing else.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != certificateBlock {
			return nil, fmt.Errorf("block %d is %s, want CERTIFICATE", len(certs)+1, core.Quote(block.Type))
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
		data = rest
	}
	switch {
	case len(certs) == 0:
		return nil, errors.New("no PEM certificate in it")
	case bytes.Contains(data, []byte("-----BEGIN")):
		return nil, fmt.Errorf("what follows certificate %d is damaged", len(certs))
	}
	return certs, nil
}

// ReadCertificates reads the certificates of a PEM file, the leaf or CA first.
func ReadCertificates(file string) ([]*x509.Certificate, error) {
	op := "read certificates " + strconv.Quote(file)
	data, err := readFile(op, file, trustBits)
	if err != nil {
		return nil, err
	}
	certs, err := parseCertificates(data)
	if err != nil {
		return nil, invalid(op, "give a file of PEM certificates", err)
	}
	return certs, nil
}

func readPool(file string) (*x509.CertPool, error) {
	certs, err := ReadCertificates(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, cert := range certs {
		pool.AddCert(cert)
	}
	return pool, nil
}

// WriteFiles writes a certificate and its key, the key readable by this user only. It refuses to
// overwrite either, and leaves neither behind when it fails.
func WriteFiles(certFile, keyFile string, certPEM, keyPEM []byte) error {
	if err := writeNew(keyFile, keyPEM, 0o600); err != nil {
		return err
	}
	if err := writeNew(certFile, certPEM, 0o644); err != nil {
		return errors.Join(err, os.Remove(keyFile))
	}
	return nil
}

func writeNew(name string, data []byte, mode fs.FileMode) error {
	op := "write " + strconv.Quote(name)
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return invalid(op, "nothing is overwritten: move the file away, or write to another folder", err)
	}
	if err != nil {
		return fileError(op, err)
	}
	if err := finish(file, data); err != nil {
		return errors.Join(fileError(op, err), os.Remove(name))
	}
	return nil
}

// replaceFile puts data under name in one step, complete and on disk.
func replaceFile(name string, data []byte, mode fs.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	err = errors.Join(file.Chmod(mode), finish(file, data))
	if err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

func finish(file *os.File, data []byte) error {
	_, err := file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}
