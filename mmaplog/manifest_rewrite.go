package mmaplog

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
)

// compactSlack is how many edits may be out of date before a manifest is written anew.
const compactSlack = 1024

// tidy writes the manifest anew when most of it is out of date. Not while files of dropped segments may be
// there still: the edit that says so is needed until they are gone.
func (m *manifest) tidy() {
	if m.file == nil || m.leaving > 0 || m.edits <= 4*m.live+4*m.slack {
		return
	}
	if err := m.rewrite(); err != nil {
		m.store.opts.Logger.Warn("cannot write the manifest anew", "path", m.path, "err", err)
	}
}

// rewrite replaces the manifest by one without what is out of date. An error has given it up.
func (m *manifest) rewrite() error {
	if err := m.write(); err != nil || m.file == nil {
		return err
	}
	image, err := readManifest(m.store.fs, m.path)
	if err != nil {
		return m.abandon(err)
	}
	content := appendManifestHead(make([]byte, 0, int64(m.live+2)*editSize))
	m.mu.Lock()
	for _, key := range slices.SortedFunc(maps.Keys(image.logs), logKey.compare) {
		log := image.logs[key]
		for _, n := range image.resolve(log).live {
			content = image.edit(n).appendFirst(content)
		}
		if m.known[key] == nil {
			continue
		}
		for _, n := range log.edits { // their files may be there: nobody has looked
			if e := image.edit(n); e.kind() == editDropped {
				content = append(content, e...)
			}
		}
	}
	m.mu.Unlock()
	content = (&manifestEdit{kind: editOpened}).append(content)
	if err := m.replace(content); err != nil {
		return m.abandon(err)
	}
	return nil
}

// replace puts a manifest with this content in the place of the one that is there, and goes on with it.
func (m *manifest) replace(content []byte) error {
	image, err := decodeManifest(content)
	if err != nil {
		return err
	}
	fs, tmp := m.store.fs, filepath.Join(m.store.dir, manifestTmpName)
	if err := fs.Remove(tmp); err != nil && !errors.Is(err, errNotExist) {
		return err
	}
	f, err := fs.Open(tmp, Create)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		m.store.point("manifest.rewrite")
		err = fs.Rename(tmp, m.path)
	}
	if err == nil {
		err = fs.SyncDir(m.store.dir) // before an edit of the new one is relied on
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if m.file != nil {
		_ = m.file.Close()
	}
	m.file, m.at, m.edits, m.live = f, image.end, image.edits, image.live
	return nil
}
