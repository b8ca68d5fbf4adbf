package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
)

// The payloads of the test servers, the same in each language; ../README.md has the format.

func jsonPayload(number uint64, id string, size int) []byte {
	if size == 0 {
		return nil
	}
	seq := strconv.FormatUint(number, 10)
	head := `{"seq":` + seq + `,"stream":"` + id + `","crc":"`
	middle := `","pad":"`
	pad := make([]byte, max(0, size-len(head)-8-len(middle)-2))
	for i := range pad {
		pad[i] = 'a' + byte((number+uint64(i))%26)
	}
	crc := crc32.ChecksumIEEE([]byte(seq + ":" + id + ":" + string(pad)))
	return fmt.Appendf(nil, `%s%08x%s%s"}`, head, crc, middle, pad)
}

func binaryPayload(number uint64, id string, size int) []byte {
	if size == 0 {
		return nil
	}
	out := binary.BigEndian.AppendUint64(nil, number)
	out = append(out, 0, 0, 0, 0)
	out = append(out, id...)
	out = append(out, 0)
	for fill := number; len(out) < size; fill++ {
		out = append(out, byte(fill))
	}
	crc := crc32.Update(crc32.ChecksumIEEE(out[:8]), crc32.IEEETable, out[12:])
	binary.BigEndian.PutUint32(out[8:], crc)
	return out
}
