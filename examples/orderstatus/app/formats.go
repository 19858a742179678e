package app

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"strings"
)

// pdf returns a document of one page with one line, of at least size bytes: a comment makes up what is missing. Characters that the font does not have
// are question marks.
func pdf(line string, size int) []byte {
	line = strings.Map(func(c rune) rune {
		switch {
		case c < ' ' || c > '~':
			return '?'
		case strings.ContainsRune(`()\`, c):
			return '|'
		}
		return c
	}, line)
	content := "BT /F1 18 Tf 72 720 Td (" + line + ") Tj ET"
	var out bytes.Buffer
	out.WriteString("%PDF-1.4\n")
	var at []int
	for i, object := range []string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(content), content),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
	} {
		at = append(at, out.Len())
		fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", i+1, object)
	}
	end := func(xref int) string {
		var table strings.Builder
		fmt.Fprintf(&table, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
		for _, offset := range at {
			fmt.Fprintf(&table, "%010d 00000 n \n", offset)
		}
		fmt.Fprintf(&table, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%08d\n%%%%EOF\n", len(at)+1, xref) // of one length, wherever it is
		return table.String()
	}
	if missing := size - out.Len() - len(end(0)); missing > 0 {
		padding := "%" + strings.Repeat(" ", max(missing-2, 0)) + "\n"
		out.WriteString(padding[len(padding)-min(missing, len(padding)):])
	}
	out.WriteString(end(out.Len()))
	return out.Bytes()
}

// xlsx returns a workbook of one sheet with texts: the least that Office Open XML asks for.
func xlsx(rows [][]string) ([]byte, error) {
	const head = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	const main, kinds = "http://schemas.openxmlformats.org/spreadsheetml/2006/main", "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
	const pack, sheetML = "http://schemas.openxmlformats.org/package/2006/", "application/vnd.openxmlformats-officedocument.spreadsheetml."
	relation := func(kind, target string) string {
		return head + `<Relationships xmlns="` + pack + `relationships"><Relationship Id="rId1" Type="` + kinds + "/" + kind + `" Target="` + target + `"/></Relationships>`
	}
	var sheet bytes.Buffer
	sheet.WriteString(head + `<worksheet xmlns="` + main + `"><sheetData>`)
	for i, row := range rows {
		fmt.Fprintf(&sheet, `<row r="%d">`, i+1)
		for k, cell := range row {
			fmt.Fprintf(&sheet, `<c r="%c%d" t="inlineStr"><is><t xml:space="preserve">`, 'A'+k, i+1)
			if err := xml.EscapeText(&sheet, []byte(cell)); err != nil {
				return nil, err
			}
			sheet.WriteString(`</t></is></c>`)
		}
		sheet.WriteString(`</row>`)
	}
	sheet.WriteString(`</sheetData></worksheet>`)
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, part := range []struct{ name, content string }{
		{"[Content_Types].xml", head + `<Types xmlns="` + pack + `content-types">` +
			`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` +
			`<Override PartName="/xl/workbook.xml" ContentType="` + sheetML + `sheet.main+xml"/>` +
			`<Override PartName="/xl/worksheets/sheet1.xml" ContentType="` + sheetML + `worksheet+xml"/></Types>`},
		{"_rels/.rels", relation("officeDocument", "xl/workbook.xml")},
		{"xl/workbook.xml", head + `<workbook xmlns="` + main + `" xmlns:r="` + kinds + `"><sheets><sheet name="Result" sheetId="1" r:id="rId1"/></sheets></workbook>`},
		{"xl/_rels/workbook.xml.rels", relation("worksheet", "worksheets/sheet1.xml")},
		{"xl/worksheets/sheet1.xml", sheet.String()},
	} {
		w, err := z.Create(part.name)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(part.content)); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// avi returns a video of one second, a square of which the colour changes, uncompressed, of at least size bytes: a chunk of junk makes up what is
// missing, to a whole number of two bytes.
func avi(size int) []byte {
	const side, rate, frames = 32, 10, 10
	const bytesPerFrame = side * side * 3
	header := list("hdrl",
		chunk("avih", words(1_000_000/rate, bytesPerFrame*rate, 0, 0x10, frames, 0, 1, bytesPerFrame, side, side, 0, 0, 0, 0)), // 0x10: has an index
		list("strl",
			chunk("strh", []byte("vidsDIB "), words(0, 0, 0, 1, rate, 0, frames, bytesPerFrame, ^uint32(0), 0, 0, side|side<<16)),
			chunk("strf", words(40, side, side, 1|24<<16, 0, bytesPerFrame, 0, 0, 0, 0))))
	movie, index := []byte("movi"), []byte(nil)
	for i := range frames {
		index = append(append(index, "00db"...), words(0x10, uint32(len(movie)), bytesPerFrame)...) // 0x10: a key frame
		movie = append(movie, chunk("00db", bytes.Repeat([]byte{byte(25 * i), 128, byte(255 - 25*i)}, side*side))...)
	}
	body := append(append([]byte("AVI "), header...), chunk("LIST", movie)...)
	body = append(body, chunk("idx1", index)...)
	const heads = 8 // of a chunk, and of the whole
	if missing := size - heads - len(body); missing > 0 {
		body = append(body, chunk("JUNK", make([]byte, max(missing-heads, 0)))...)
	}
	return chunk("RIFF", body)
}

// chunk returns a chunk of a RIFF file: a name, the length, and the parts, made even.
func chunk(name string, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	out := append([]byte(name), words(uint32(len(body)))...)
	out = append(out, body...)
	return append(out, make([]byte, len(body)%2)...)
}

func list(name string, parts ...[]byte) []byte {
	return chunk("LIST", append([][]byte{[]byte(name)}, parts...)...)
}

func words(v ...uint32) []byte {
	out := make([]byte, 0, 4*len(v))
	for _, w := range v {
		out = binary.LittleEndian.AppendUint32(out, w)
	}
	return out
}
