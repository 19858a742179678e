package jobqueue

import (
	"encoding/binary"
	"fmt"

	"github.com/pollackq/pollack/storage"
)

// beside is what a store keeps beside a job's Status: texts and the result, all that may be long.
type beside struct {
	message     string // of the latest progress
	failure     Failure
	hasResult   bool
	contentType string // of the result
	result      []byte // unless it is a blob
}

const besideVersion = 1

var errBeside = fmt.Errorf("%w: what is kept beside the job cannot be read", storage.ErrCorrupt)

// encode returns the record: a version, whether there is a result, four strings each behind its length, the result.
func (b *beside) encode() []byte {
	p := make([]byte, 0, 32+len(b.message)+len(b.failure.Message)+len(b.contentType)+len(b.result))
	p = append(p, besideVersion, 0)
	if b.hasResult {
		p[1] = 1
	}
	for _, s := range []string{b.message, b.failure.Code, b.failure.Message, b.contentType} {
		p = binary.AppendUvarint(p, uint64(len(s)))
		p = append(p, s...)
	}
	return append(p, b.result...)
}

func decodeBeside(p []byte) (beside, error) {
	if len(p) < 2 || p[0] != besideVersion {
		return beside{}, errBeside
	}
	b := beside{hasResult: p[1] == 1}
	p = p[2:]
	for _, s := range []*string{&b.message, &b.failure.Code, &b.failure.Message, &b.contentType} {
		n, k := binary.Uvarint(p)
		if k <= 0 || n > uint64(len(p)-k) {
			return beside{}, errBeside
		}
		*s = string(p[k : k+int(n)])
		p = p[k+int(n):]
	}
	b.result = p
	return b, nil
}

// readBeside returns what is kept beside the job, the zero value if there is nothing.
func readBeside(r storage.Reader, j *storage.Job) (beside, error) {
	if !j.HasResult {
		return beside{}, nil
	}
	p, err := r.Result(j)
	if err != nil {
		return beside{}, err
	}
	return decodeBeside(p)
}
