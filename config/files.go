package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Bounds of what is read.
const (
	maxFileSize  = 1 << 20 // bytes, of one configuration file and of one file()
	maxFiles     = 1000
	maxNesting   = 100   // brackets and blocks inside each other
	maxOperators = 10000 // operators, brackets and dots in one file: each may nest an expression
)

// fileSet collects the files of all PATHs.
type fileSet struct {
	rep   *report
	files []*file
	infos []fs.FileInfo // of files, to find the same one again
}

// atPath is the place of a problem with a path as a whole.
func atPath(path string) hcl.Range { return hcl.Range{Filename: path} }

func (s *fileSet) addPath(path string) {
	info, err := os.Stat(path)
	if err != nil {
		s.rep.error(atPath(path), "cannot be read: "+reason(err), "give *.hcl files, or directories of them")
		return
	}
	if !info.IsDir() {
		s.addFile(path, info)
		return
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		s.rep.error(atPath(path), "cannot be read: "+reason(err), "")
		return
	}
	found := false
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || filepath.Ext(e.Name()) != ".hcl" {
			continue
		}
		name := filepath.Join(path, e.Name())
		info, err := os.Stat(name)
		if err != nil {
			s.rep.error(atPath(name), "cannot be read: "+reason(err), "")
			found = true
			continue
		}
		if !info.IsDir() {
			s.addFile(name, info)
			found = true
		}
	}
	if !found {
		s.rep.error(atPath(path), "directory without *.hcl files", "give *.hcl files, or directories of them")
	}
}

func (s *fileSet) addFile(path string, info fs.FileInfo) {
	for i, other := range s.infos {
		if os.SameFile(info, other) {
			s.rep.error(atPath(path), "same file as "+s.files[i].name, "give every file once")
			return
		}
	}
	if len(s.files) == maxFiles {
		s.rep.errorf(atPath(path), "", "more than %d files", maxFiles)
		return
	}
	text, err := readLimited(path)
	if err != nil {
		s.rep.error(atPath(path), "cannot be read: "+reason(err), "")
		return
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		s.rep.error(atPath(path), "cannot be read: "+reason(err), "")
		return
	}
	s.infos = append(s.infos, info)
	s.files = append(s.files, &file{name: path, dir: dir, text: text})
}

// errTooLarge is a file beyond maxFileSize.
var errTooLarge = fmt.Errorf("larger than %d bytes", maxFileSize)

// readLimited reads a whole file of at most maxFileSize bytes.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFileSize {
		return nil, errTooLarge
	}
	return text, nil
}

// reason is an error without the path, which is a value that may be secret.
func reason(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return err.Error()
}

// parse reads the file as HCL. It reports every problem of syntax and answers
// whether there was none.
func (f *file) parse(rep *report) bool {
	tokens, _ := hclsyntax.LexConfig(f.text, f.name, hcl.InitialPos) // the parser reports the same again
	if !f.withinBounds(tokens, rep) {
		return false
	}
	parsed, diags := hclsyntax.ParseConfig(f.text, f.name, hcl.InitialPos)
	for _, d := range diags {
		at := hcl.Range{Filename: f.name, Start: hcl.InitialPos, End: hcl.InitialPos}
		if d.Subject != nil {
			at = *d.Subject
		}
		rep.error(at, syntaxSummary(d.Summary), syntaxDetail(d))
	}
	if diags.HasErrors() {
		return false
	}
	f.body = parsed.Body.(*hclsyntax.Body)
	f.hide(tokens)
	return true
}

// withinBounds refuses what would make the parser and the evaluation recurse
// too deep.
func (f *file) withinBounds(tokens hclsyntax.Tokens, rep *report) bool {
	depth, operators := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
			operators++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd:
			depth = max(depth-1, 0)
		case hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPlus, hclsyntax.TokenMinus, hclsyntax.TokenPercent,
			hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual, hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq,
			hclsyntax.TokenGreaterThan, hclsyntax.TokenGreaterThanEq, hclsyntax.TokenAnd, hclsyntax.TokenOr,
			hclsyntax.TokenBang, hclsyntax.TokenDot, hclsyntax.TokenDoubleColon, hclsyntax.TokenQuestion, hclsyntax.TokenColon:
			operators++
		}
		switch {
		case depth > maxNesting:
			rep.errorf(t.Range, "", "more than %d blocks and brackets inside each other", maxNesting)
			return false
		case operators > maxOperators:
			rep.errorf(t.Range, "split the file", "more than %d operators and brackets in one file", maxOperators)
			return false
		}
	}
	return true
}
