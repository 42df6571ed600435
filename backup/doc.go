// Package backup keeps copies of a mesh's items in places that outlive the mesh.
package backup
