/* The extension module. Arrays come as addresses, which kernels_native.py takes from arrays that it holds meanwhile;
 * the loops run without the interpreter's lock, so that several tensors are observed at once. */
#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "loops.h"

typedef unsigned long long address;

#define AT(type, value) ((type *)(uintptr_t)(value))
#define LOCK_FREE(statement)  \
    Py_BEGIN_ALLOW_THREADS;   \
    statement;                \
    Py_END_ALLOW_THREADS

static PyObject *add(PyObject *module, PyObject *arguments)
{
    address bits, packed, found, top, bottom;
    long long size, start, stop;
    int first_key, lowest_fitting, highest_fitting;
    if (!PyArg_ParseTuple(arguments, "KLLKiiiKKK", &bits, &size, &start, &packed, &first_key, &lowest_fitting,
                          &highest_fitting, &found, &top, &bottom))
        return NULL;
    LOCK_FREE(stop = calibrant_add(AT(const int32_t, bits), size, start, AT(uint64_t, packed), first_key,
                                   lowest_fitting, highest_fitting, AT(int32_t, found), AT(int32_t, top),
                                   AT(int32_t, bottom)));
    return PyLong_FromLongLong(stop);
}

static PyObject *filled(PyObject *module, PyObject *arguments)
{
    address packed, totals, codes, counts, sums, means;
    long long size, first_key, count;
    if (!PyArg_ParseTuple(arguments, "KKLLKKKK", &packed, &totals, &size, &first_key, &codes, &counts, &sums, &means))
        return NULL;
    LOCK_FREE(count = calibrant_filled(AT(const uint64_t, packed), AT(const int64_t, totals), size, first_key,
                                       AT(int64_t, codes), AT(int64_t, counts), AT(int64_t, sums), AT(double, means)));
    return PyLong_FromLongLong(count);
}

static PyObject *sums_outwards(PyObject *module, PyObject *arguments)
{
    address codes, counts, means, table;
    long long size, first_key, start;
    int negative;
    if (!PyArg_ParseTuple(arguments, "KKKLpLLK", &codes, &counts, &means, &size, &negative, &first_key, &start, &table))
        return NULL;
    LOCK_FREE(calibrant_sums_outwards(AT(const int64_t, codes), AT(const int64_t, counts), AT(const double, means),
                                      size, negative, first_key, start, AT(double, table)));
    Py_RETURN_NONE;
}

static PyObject *spread_below(PyObject *module, PyObject *arguments)
{
    address codes, counts, means, points, below;
    long long size, zeros, points_size;
    double minimum, maximum;
    if (!PyArg_ParseTuple(arguments, "KKKLLddKLK", &codes, &counts, &means, &size, &zeros, &minimum, &maximum, &points,
                          &points_size, &below))
        return NULL;
    LOCK_FREE(calibrant_spread_below(AT(const int64_t, codes), AT(const int64_t, counts), AT(const double, means), size,
                                     zeros, minimum, maximum, AT(const double, points), points_size,
                                     AT(double, below)));
    Py_RETURN_NONE;
}

static PyObject *add_rows(PyObject *module, PyObject *arguments)
{
    address rows, sums;
    long long count, columns;
    if (!PyArg_ParseTuple(arguments, "KLLK", &rows, &count, &columns, &sums))
        return NULL;
    LOCK_FREE(calibrant_add_rows(AT(const float, rows), count, columns, AT(double, sums)));
    Py_RETURN_NONE;
}

static PyObject *sums_between(PyObject *module, PyObject *arguments)
{
    address values, first, second, edges, sums;
    long long samples, elements, count;
    if (!PyArg_ParseTuple(arguments, "KKKLLKLK", &values, &first, &second, &samples, &elements, &edges, &count, &sums))
        return NULL;
    int failed;
    LOCK_FREE(failed = calibrant_sums_between(AT(const float, values), AT(const float, first), AT(const float, second),
                                              samples, elements, AT(const float, edges), count, AT(double, sums)));
    if (failed)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *excess(PyObject *module, PyObject *arguments)
{
    address scales, table, sums;
    long long count, levels, first_key;
    if (!PyArg_ParseTuple(arguments, "LKLKLK", &count, &scales, &levels, &table, &first_key, &sums))
        return NULL;
    LOCK_FREE(calibrant_excess(count, AT(const double, scales), levels, AT(const double, table), first_key,
                               AT(double, sums)));
    Py_RETURN_NONE;
}

static PyObject *gains(PyObject *module, PyObject *arguments)
{
    address scales, levels, table, result;
    long long candidates, first_key;
    if (!PyArg_ParseTuple(arguments, "LKKKLK", &candidates, &scales, &levels, &table, &first_key, &result))
        return NULL;
    LOCK_FREE(calibrant_gains(candidates, AT(const double, scales), AT(const int64_t, levels), AT(const double, table),
                              first_key, AT(double, result)));
    Py_RETURN_NONE;
}

static PyObject *gains_of_uniform_bins(PyObject *module, PyObject *arguments)
{
    address scales, levels, table, result;
    long long candidates, bins;
    double low, width;
    if (!PyArg_ParseTuple(arguments, "LKKKLddK", &candidates, &scales, &levels, &table, &bins, &low, &width, &result))
        return NULL;
    LOCK_FREE(calibrant_gains_of_uniform_bins(candidates, AT(const double, scales), AT(const int64_t, levels),
                                              AT(const double, table), bins, low, width, AT(double, result)));
    Py_RETURN_NONE;
}

static PyObject *greedy_walk(PyObject *module, PyObject *arguments)
{
    address cumulated, ranges;
    long long bins, count;
    double part;
    if (!PyArg_ParseTuple(arguments, "KLdK", &cumulated, &bins, &part, &ranges))
        return NULL;
    LOCK_FREE(count = calibrant_greedy_walk(AT(const double, cumulated), bins, part, AT(int64_t, ranges)));
    return PyLong_FromLongLong(count);
}

static PyObject *limit_forms(PyObject *module, PyObject *arguments)
{
    int places;
    return PyArg_ParseTuple(arguments, "i", &places) ? PyLong_FromLong(calibrant_limit_forms(places)) : NULL;
}

static PyMethodDef methods[] = {
    {"add", add, METH_VARARGS, NULL},
    {"filled", filled, METH_VARARGS, NULL},
    {"sums_outwards", sums_outwards, METH_VARARGS, NULL},
    {"spread_below", spread_below, METH_VARARGS, NULL},
    {"add_rows", add_rows, METH_VARARGS, NULL},
    {"sums_between", sums_between, METH_VARARGS, NULL},
    {"excess", excess, METH_VARARGS, NULL},
    {"gains", gains, METH_VARARGS, NULL},
    {"gains_of_uniform_bins", gains_of_uniform_bins, METH_VARARGS, NULL},
    {"greedy_walk", greedy_walk, METH_VARARGS, NULL},
    {"limit_forms", limit_forms, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module)
{
    PyObject *layout = Py_BuildValue("(iiii)", MANTISSA_BITS, OCTAVES, TAIL, COUNT_SHIFT);
    if (layout == NULL)
        return -1;
    int failed = PyModule_AddObjectRef(module, "LAYOUT", layout);
    Py_DECREF(layout);
    return failed;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "The inner loops over values, bins and candidates; see calibrant.algorithms.kernels_numpy.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
