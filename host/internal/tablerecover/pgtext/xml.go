package pgtext

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
)

// xmlDecl is what an XML declaration looks like.
const xmlDecl = `^<\?xml\s+version\s*=\s*(?:"([^"]*)"|'([^']*)')(?:\s+encoding\s*=\s*(?:"[^"]*"|'[^']*'))?(?:\s+standalone\s*=\s*(?:"(yes|no)"|'(yes|no)'))?\s*\?>`

// appendXML is xml_out: a declaration loses its encoding, which tells what the
// text once came in, and goes away where nothing else is in it.
func appendXML(dst, v []byte) ([]byte, error) {
	if !bytes.HasPrefix(v, []byte("<?xml")) || len(v) > 5 && !bytes.ContainsRune([]byte(" \t\r\n"), rune(v[5])) {
		return append(dst, v...), nil
	}
	re, err := regexp.Compile(xmlDecl)
	if err != nil {
		return nil, err
	}
	m := re.FindSubmatch(v)
	if m == nil {
		return nil, errors.New("its XML declaration is not understood")
	}
	version, standalone := append(m[1], m[2]...), append(m[3], m[4]...)
	rest := v[len(m[0]):]
	if string(version) == "1.0" && len(standalone) == 0 {
		return append(dst, bytes.TrimPrefix(rest, []byte("\n"))...), nil
	}
	dst = fmt.Appendf(dst, `<?xml version="%s"`, version)
	if len(standalone) > 0 {
		dst = fmt.Appendf(dst, ` standalone="%s"`, standalone)
	}
	return append(append(dst, "?>"...), rest...), nil
}
